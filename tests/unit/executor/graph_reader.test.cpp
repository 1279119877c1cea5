// The JSON reader on archives that PyTorch wrote, and on the same made wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "executor/graph_reader.hpp"
#include "unit/executor/archive_writer.hpp"
#include "unit/executor/fixture.hpp"

namespace {

using namespace shoal;
using executor::archive;
using executor::graph;
using executor::read_graph;
using nlohmann::json;
using test::fixture_archive;

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

std::vector<std::string> names(const std::vector<executor::named_value>& values) {
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

TEST_CASE("ranges of sizes that are no range are corrupt, by the symbol; a negative end is none") {
  const auto with = [](const json& min, const json& max) {
    return read_changed("graphs/several", model, [&](json& whole) {
      for (auto& range : whole["range_constraints"]) range = {{"min_val", min}, {"max_val", max}};
    });
  };
  for (const json& wrong : {json("NaN"), json("Infinity"), json(1.5), json(1e300), json::array(), json(true),
                            json(std::uint64_t{1} << 63)}) {
    CAPTURE(wrong.dump());
    check_refused(with(wrong, 8), errc::corrupt, "the range of s");
    check_refused(with(2, wrong), errc::corrupt, "the range of s");
  }
  check_refused(with(9, 8), errc::corrupt, "is empty");
  check_refused(with(2, -1), errc::corrupt, "is empty");
  const auto negative = with(-5, 8);
  REQUIRE(negative.has_value());
  for (const auto& [symbol, range] : negative->symbols) CHECK(range.min == 0);
}

TEST_CASE("nodes that read each other, or themselves, are corrupt") {
  const auto reading = [](std::size_t reader, std::size_t read) {
    return read_changed("graphs/tuple", model, [&](json& whole) {
      auto& nodes = graph_of(whole)["nodes"];
      nodes[reader]["inputs"][0]["arg"] = {{"as_tensor", nodes[read]["outputs"][0]["as_tensor"]}};
    });
  };
  check_refused(reading(0, 0), errc::corrupt, "which nothing before it defines");
  check_refused(reading(0, 2), errc::corrupt, "which nothing before it defines");
}

TEST_CASE("an argument of the wrong JSON for its kind is refused with the node's name") {
  const auto with = [](const char* kind, const json& content) {
    return read_changed("graphs/tuple", model, [&](json& whole) {
      graph_of(whole)["nodes"][0]["inputs"][1]["arg"] = {{kind, content}};
    });
  };
  for (const auto* kind :
       {"as_tensor",           "as_tensors",   "as_int",           "as_ints",     "as_float",
        "as_floats",           "as_bool",      "as_bools",         "as_string",   "as_sym_int",
        "as_sym_ints",         "as_sym_float", "as_sym_floats",    "as_sym_bool", "as_sym_bools",
        "as_scalar_type",      "as_layout",    "as_memory_format", "as_device",   "as_optional_tensor",
        "as_optional_tensors", "as_name"})
    for (const json& wrong : {json::object(), json(), json({{"name", 1}}), json({1, "x", nullptr})}) {
      CAPTURE(kind);
      CAPTURE(wrong.dump());
      const auto given = with(kind, wrong);
      REQUIRE(!given.has_value());
      CHECK(given.error().message.find("the node add") != std::string::npos);
    }
  check_refused(with("as_int", std::uint64_t{1} << 63), errc::corrupt, "the node add is too large an integer");
  check_refused(with("as_ints", {1, std::uint64_t{1} << 63}), errc::corrupt, "the node add is too large an integer");
  check_refused(with("as_int", 1.5), errc::corrupt, "the node add is not an integer");
  check_refused(with("as_float", "nan"), errc::corrupt, "the node add is not a number");
}

TEST_CASE("names and strings with NUL characters are corrupt") {
  const std::string wrong("a\0b", 3);
  const auto changed = [](const std::function<void(json&)>& change) {
    return read_changed("graphs/tuple", model, [&](json& whole) { change(graph_of(whole)["nodes"][0]); });
  };
  constexpr auto said = "holds a NUL character";
  check_refused(changed([&](json& node) { node["target"] = wrong; }), errc::corrupt, said);
  check_refused(changed([&](json& node) { node["name"] = wrong; }), errc::corrupt, said);
  check_refused(changed([&](json& node) { node["inputs"][0]["name"] = wrong; }), errc::corrupt, said);
  check_refused(changed([&](json& node) { node["inputs"][1]["arg"] = {{"as_string", wrong}}; }), errc::corrupt, said);
  check_refused(changed([&](json& node) { node["outputs"][0]["as_tensor"]["name"] = wrong; }), errc::corrupt, said);
  check_refused(read_changed("graphs/tuple", model,
                             [&](json& whole) {
                               whole["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"][0] =
                                   wrong;
                             }),
                errc::corrupt, said);
}

TEST_CASE("sizes of 2^63 and beyond are corrupt, by the value's name") {
  const auto with = [](const json& size) {
    return read_changed("graphs/constants", model, [&](json& whole) {
      graph_of(whole)["tensor_values"]["b_slice"]["sizes"][0] = {{"as_int", size}};
    });
  };
  check_refused(with(std::uint64_t{1} << 63), errc::corrupt, "b_slice is too large an integer");
  check_refused(with(std::numeric_limits<std::uint64_t>::max()), errc::corrupt, "b_slice is too large an integer");
  check_refused(with(1e19), errc::corrupt, "b_slice is not an integer");
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
