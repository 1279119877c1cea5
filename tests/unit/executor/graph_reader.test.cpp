// The JSON reader on archives that PyTorch wrote, and on the same made wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "unit/executor/archive_writer.hpp"
#include "unit/executor/fixture.hpp"
#include "worker/executor/graph_reader.hpp"

namespace {

using namespace shoal;
using nlohmann::json;
using test::fixture_archive;
using worker::executor::archive;
using worker::executor::graph;
using worker::executor::read_graph;

constexpr auto model = "models/model.json";
constexpr auto weights = "data/weights/model_weights_config.json";

expected<graph> read(const std::string& bytes) {
  const test::scratch_file file(bytes);
  const auto opened = archive::open(file.path());
  if (!opened) return tl::unexpected(opened.error());
  return read_graph(**opened);
}

expected<graph> read_changed(const std::string& fixture, const char* record, const std::function<void(json&)>& change) {
  return read(test::with_json(fixture_archive(fixture), record, change));
}

void check_refused(const expected<graph>& given, errc code, const std::string& part) {
  REQUIRE(!given.has_value());
  CHECK(given.error().code == code);
  CAPTURE(given.error().message);
  CHECK(given.error().message.find(part) != std::string::npos);
}

std::vector<std::string> names(const std::vector<worker::executor::named_value>& values) {
  std::vector<std::string> result;
  for (const auto& each : values) result.push_back(each.name);
  return result;
}

json& graph_of(json& whole) { return whole["graph_module"]["graph"]; }

}  // namespace

TEST_CASE("inputs are named as the arguments and outputs as the keys the module returned") {
  const auto several = read(test::read_file(fixture_archive("graphs/several")));
  REQUIRE(several.has_value());
  CHECK(names(several->inputs) == std::vector<std::string>{"input", "ids", "keep"});
  CHECK(names(several->outputs) ==
        std::vector<std::string>{"scores", "best.value", "best.index", "ids", "any", "pair.0", "pair.1"});
  const auto tuple = read(test::read_file(fixture_archive("graphs/tuple")));
  CHECK(names(tuple->outputs) == std::vector<std::string>{"output_0", "output_1", "output_2"});
}

TEST_CASE("a body under no_grad is read as if it were written in place") {
  const auto folding = read(test::read_file(fixture_archive("graphs/folding")));
  REQUIRE(folding.has_value());
  CHECK(std::any_of(folding->nodes.begin(), folding->nodes.end(),
                    [](const auto& each) { return each.target == "torch.ops.aten.sin.default"; }));
}

TEST_CASE("another schema version is incompatible and says which") {
  check_refused(read_changed("graphs/tuple", model, [](json& whole) { whole["schema_version"]["major"] = 9; }),
                errc::incompatible, "schema version 9.17, but Shoal reads version 8");
  check_refused(read_changed("graphs/tuple", model, [](json& whole) { whole.erase("schema_version"); }), errc::corrupt,
                "models/model.json lacks the key schema_version");
}

TEST_CASE("another archive format, version or byte order is refused") {
  auto contents = test::read_records(fixture_archive("graphs/tuple"));
  const auto with = [&](const char* name, const char* text) {
    auto changed = contents;
    changed[name] = text;
    return read(test::zip(changed));
  };
  check_refused(with("archive_format", "pt1"), errc::incompatible, "not a version 0 `.pt2` archive");
  check_refused(with("archive_version", "1"), errc::incompatible, "not a version 0 `.pt2` archive");
  check_refused(with("byteorder", "big"), errc::unsupported, "big-endian");
  contents.erase(model);
  check_refused(read(test::zip(contents)), errc::unsupported, "one exported program per file");
  contents.erase("archive_format");
  check_refused(read(test::zip(contents)), errc::corrupt, "no record archive_format");
}

TEST_CASE("JSON that is cut off, nested too deeply or of another shape is corrupt") {
  auto contents = test::read_records(fixture_archive("graphs/tuple"));
  const auto whole = contents.at(model);
  const auto with = [&](const std::string& text) {
    contents[model] = text;
    return read(test::zip(contents));
  };
  for (std::size_t size = 0; size < whole.size(); size += 97)
    check_refused(with(whole.substr(0, size)), errc::corrupt, model);
  check_refused(with(std::string(1000000, '[')), errc::corrupt, "nested too deeply");
  check_refused(with("[]"), errc::corrupt, "is not an object");
  check_refused(with("{}"), errc::corrupt, "lacks the key");
}

TEST_CASE("a value is defined once, and before it is read") {
  check_refused(read_changed("graphs/tuple", model,
                             [](json& whole) {
                               std::swap(graph_of(whole)["nodes"][0], graph_of(whole)["nodes"][2]);
                               graph_of(whole)["nodes"][0]["inputs"][0]["arg"]["as_tensor"]["name"] = "nobody";
                             }),
                errc::corrupt, "reads nobody, which nothing before it defines");
  check_refused(read_changed("graphs/tuple", model,
                             [](json& whole) { graph_of(whole)["nodes"][0]["outputs"][0]["as_tensor"]["name"] = "x"; }),
                errc::corrupt, "defines x twice");
}

TEST_CASE("kinds of arguments and inputs that are not run are refused by name") {
  check_refused(
      read_changed("graphs/tuple", model,
                   [](json& whole) {
                     graph_of(whole)["nodes"][0]["inputs"][1]["arg"] = {{"as_complex", {{"real", 1}, {"imag", 2}}}};
                   }),
      errc::unsupported, "argument of kind as_complex");
  check_refused(
      read_changed("graphs/tuple", model,
                   [](json& whole) {
                     whole["graph_module"]["signature"]["input_specs"][0] = {{"token", {{"arg", {{"name", "t"}}}}}};
                   }),
      errc::unsupported, "is a token, which Shoal does not run");
  check_refused(read_changed("graphs/tuple", model,
                             [](json& whole) {
                               whole["graph_module"]["signature"]["output_specs"][0] = {
                                   {"buffer_mutation", {{"arg", {{"name", "x"}}}, {"buffer_name", "count"}}}};
                             }),
                errc::unsupported, "changes its buffer count while it runs");
}

TEST_CASE("weights that are pickled, missing or described in two ways are refused by name") {
  const auto change = [](const std::function<void(json&)>& entry) {
    return read_changed("graphs/constants", weights, [&](json& whole) { entry(whole["config"]["slice"]); });
  };
  check_refused(change([](json& entry) { entry["use_pickle"] = true; }), errc::unsupported,
                "the weight slice is stored as a pickle");
  check_refused(change([](json& entry) { entry["tensor_meta"]["dtype"] = 8; }), errc::corrupt,
                "the weight slice is described otherwise by the graph");
  check_refused(change([](json& entry) { entry["tensor_meta"]["sizes"][0]["as_int"] = 2; }), errc::corrupt,
                "the weight slice is described otherwise by the graph");
  check_refused(change([](json& entry) { entry["tensor_meta"]["layout"] = 2; }), errc::unsupported, "not a strided");
  check_refused(change([](json& entry) { entry["tensor_meta"].erase("strides"); }), errc::corrupt,
                "lacks the key strides");
  check_refused(read_changed("graphs/constants", weights, [](json& whole) { whole["config"].erase("slice"); }),
                errc::corrupt, "lacks the key slice");
}

TEST_CASE("names and values that do not match in number are corrupt") {
  check_refused(read_changed("graphs/tuple", model,
                             [](json& whole) { whole["graph_module"]["signature"]["output_specs"].erase(0); }),
                errc::corrupt, "returns 2 values, but out_spec names 3");
}

TEST_CASE("a graph with any of its bytes changed is refused or read, and never worse") {
  std::mt19937 random(1);
  for (const auto* name : {"graphs/several", "graphs/arithmetic", "graphs/constants", "graphs/folding"}) {
    const auto contents = test::read_records(fixture_archive(name));
    for (int round = 0; round < 200; ++round) {
      auto changed = contents;
      auto& text = changed.at(round % 4 == 3 ? weights : model);
      for (int i = 0; i < 3; ++i) text[random() % text.size()] = "0189-\"{}[],:aens "[random() % 17];
      CAPTURE(round);
      const auto given = read(test::zip(changed));
      if (!given) CHECK(!given.error().message.empty());
    }
  }
}
