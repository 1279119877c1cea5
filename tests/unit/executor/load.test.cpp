// Models that must be refused, each with a sentence that names what and where.
#include <doctest/doctest.h>

#include <limits>
#include <random>

#include "unit/executor/archive_writer.hpp"
#include "unit/executor/fixture.hpp"

namespace {

using namespace shoal;
using executor::model;
using executor::pass_options;
using nlohmann::json;
using test::fixture_archive;

constexpr auto graph_record = "models/model.json";
constexpr auto weights_record = "data/weights/model_weights_config.json";

void check_refused(const std::filesystem::path& archive, errc code, const std::vector<std::string>& parts) {
  const auto loaded = model::load(archive);
  REQUIRE(!loaded.has_value());
  CAPTURE(loaded.error().message);
  CHECK(loaded.error().code == code);
  for (const auto& part : parts) CHECK(loaded.error().message.find(part) != std::string::npos);
}

void check_changed(const std::string& fixture, const std::function<void(json&)>& change, errc code,
                   const std::vector<std::string>& parts) {
  const test::scratch_file file(test::with_json(fixture_archive(fixture), graph_record, change));
  check_refused(file.path(), code, parts);
}

json& node(json& whole, std::size_t index) { return whole["graph_module"]["graph"]["nodes"][index]; }

/// Changes one weight's description in the list and in the graph alike, as a forger would.
std::string with_weight(const std::string& name, const std::string& value, const std::function<void(json&)>& change) {
  auto contents = test::read_records(fixture_archive("graphs/constants"));
  auto list = json::parse(contents.at(weights_record));
  change(list["config"][name]["tensor_meta"]);
  contents[weights_record] = list.dump();
  auto whole = json::parse(contents.at(graph_record));
  change(whole["graph_module"]["graph"]["tensor_values"][value]);
  contents[graph_record] = whole.dump();
  return test::zip(contents);
}

}  // namespace

TEST_CASE("a model that is not there is not found, by its path") {
  check_refused("/nonexistent/model.pt2", errc::not_found, {"/nonexistent/model.pt2"});
}

TEST_CASE("an operator that is not on the allow-list is refused with its node") {
  check_refused(fixture_archive("graphs/random"), errc::unsupported, {"rand_like", "not on Shoal's allow-list"});
  check_refused(fixture_archive("graphs/takes_item"), errc::unsupported,
                {"the node item", "not on Shoal's allow-list"});
}

TEST_CASE("a model exported in training mode is refused and told to call eval()") {
  check_refused(fixture_archive("graphs/training"), errc::unsupported, {"batch_norm", "eval()"});
}

TEST_CASE("a model that changes its buffer is refused with the buffer's name") {
  check_refused(fixture_archive("graphs/mutates_buffer"), errc::unsupported,
                {"the node add_", "the weight or buffer count"});
}

TEST_CASE("an operator LibTorch does not have, or has otherwise, is refused with its node") {
  const std::string fixture = "graphs/tuple";
  check_changed(fixture, [](json& whole) { node(whole, 0)["target"] = "torch.ops.aten.add.Nonsense"; },
                errc::unsupported, {"the node add (torch.ops.aten.add.Nonsense)", "LibTorch has no such operator"});
  check_changed(fixture, [](json& whole) { node(whole, 0)["inputs"][1]["name"] = "nonsense"; }, errc::unsupported,
                {"the node add ", "argument other is missing"});
  check_changed(fixture,
                [](json& whole) {
                  node(whole, 0)["inputs"].push_back({{"name", "more"}, {"arg", {{"as_int", 1}}}});
                },
                errc::unsupported, {"the node add ", "an argument that the operator's schema does not have"});
  check_changed(fixture,
                [](json& whole) {
                  node(whole, 0)["inputs"][1]["arg"] = {{"as_string", "text"}};
                },
                errc::unsupported, {"the node add ", "argument other is not what"});
  check_changed(fixture,
                [](json& whole) {
                  node(whole, 0)["outputs"].push_back({{"as_tensor", {{"name", "second"}}}});
                },
                errc::unsupported, {"the node add ", "other results"});
  check_changed(fixture, [](json& whole) { node(whole, 0)["target"] = "torch.ops.aten.add.out"; }, errc::unsupported,
                {"the node add "});
}

TEST_CASE("an archive that asks for operators that only passes may put in is refused") {
  for (const auto* target : {"torch.ops.shoal.attention.default", "torch.ops.shoal.pack_linear.default",
                             "torch.ops.mkldnn._convolution_pointwise.default", "shoal::attention", "torch.ops."}) {
    CAPTURE(target);
    check_changed("graphs/tuple", [&](json& whole) { node(whole, 0)["target"] = target; }, errc::unsupported,
                  {"the node add (", target, "not on Shoal's allow-list"});
  }
}

TEST_CASE("a list of results that is shorter, longer or none is refused, at load or when it runs, with its node") {
  const auto with = [](const std::function<void(json&)>& change) {
    const test::scratch_file file(test::with_json(fixture_archive("graphs/lists"), graph_record, [&](json& whole) {
      for (auto& each : whole["graph_module"]["graph"]["nodes"])
        if (each["outputs"].size() == 1 && each["outputs"][0].contains("as_tensors")) change(each["outputs"][0]);
    }));
    const auto loaded = model::load(file.path());
    if (!loaded) return loaded.error().message;
    const auto ran = (*loaded)->run(test::fixture_cases("graphs/lists").front().inputs);
    return ran ? std::string() : ran.error().message;
  };
  int more = 0;
  CHECK(with([](json&) {}).empty());
  CHECK(with([&](json& list) {
          list["as_tensors"].push_back({{"name", "more_" + std::to_string(more++)}});
        }).find("the node ") != std::string::npos);
  CHECK(with([](json& list) {
          const json first = list["as_tensors"][0];
          list.clear();
          list["as_tensor"] = first;
        }).find("the node ") != std::string::npos);
  CHECK(with([](json& list) { list = {{"as_tensors", 3}}; }).find("damaged list of results") != std::string::npos);
}

TEST_CASE("a tensor on another device is refused") {
  check_changed("graphs/arithmetic",
                [](json& whole) {
                  for (auto& each : whole["graph_module"]["graph"]["nodes"])
                    for (auto& input : each["inputs"])
                      if (input["arg"].contains("as_device")) input["arg"]["as_device"]["type"] = "cuda";
                },
                errc::unsupported, {"argument device is not what"});
}

TEST_CASE("a weight that reaches beyond its record is corrupt, by its name and record") {
  const auto check = [](const std::function<void(json&)>& change, const char* part) {
    const test::scratch_file file(with_weight("slice", "b_slice", change));
    check_refused(file.path(), errc::corrupt, {"the weight slice (record data/weights/weight_", part});
  };
  check([](json& meta) { meta["sizes"][0]["as_int"] = 3000; }, "but its record has 160 bytes");
  check([](json& meta) { meta["dtype"] = 8, meta["sizes"][0]["as_int"] = 5; },
        "24 elements of 8 bytes, but its record has");
  check([](json& meta) { meta["storage_offset"]["as_int"] = 29; }, "needs 41 elements");
  check([](json& meta) { meta["strides"][0]["as_int"] = 1000; }, "but its record has 160 bytes");
  check([](json& meta) { meta["dtype"] = 99; }, "unknown ScalarType 99");
  const auto largest = std::numeric_limits<std::int64_t>::max();
  for (const auto wrong : {largest, largest / 2, std::int64_t{-1}}) {
    check([&](json& meta) { meta["strides"][0]["as_int"] = wrong; }, "");
    check([&](json& meta) { meta["storage_offset"]["as_int"] = wrong; }, "");
  }
  check([&](json& meta) { meta["sizes"] = {{{"as_int", largest}}, {{"as_int", largest}}}; }, "make no sense");
  check([](json& meta) { meta["strides"].erase(0); }, "make no sense");
}

TEST_CASE("a weight's record that is missing, shorter or damaged is corrupt, by the weight's name") {
  auto contents = test::read_records(fixture_archive("graphs/constants"));
  const auto config = json::parse(contents.at(weights_record));
  const auto record = "data/weights/" + config["config"]["slice"]["path_name"].get<std::string>();
  auto changed = contents;
  changed.erase(record);
  check_refused(test::scratch_file(test::zip(changed)).path(), errc::corrupt,
                {"the weight slice cannot be read", "no record " + record});
  changed = contents;
  changed[record].resize(20);
  check_refused(test::scratch_file(test::zip(changed)).path(), errc::corrupt,
                {"the weight slice", "its record has 20 bytes"});
  auto bytes = test::zip(contents);
  bytes[bytes.find(contents.at(record)) + 5] ^= 4;
  check_refused(test::scratch_file(bytes).path(), errc::corrupt, {"the weight slice cannot be read", "checksum"});
}

TEST_CASE("a truncated archive is refused wherever it ends") {
  const auto whole = test::read_file(fixture_archive("graphs/constants"));
  for (std::size_t size = 0; size < whole.size(); size += 611) {
    CAPTURE(size);
    check_refused(test::scratch_file(whole.substr(0, size)).path(), errc::corrupt, {});
  }
}

TEST_CASE("a graph whose JSON is changed anywhere is refused or loaded, and never worse") {
  std::mt19937 random(2);
  for (const auto* name : {"graphs/several", "graphs/lists", "graphs/constants", "graphs/convolutional"}) {
    const auto contents = test::read_records(fixture_archive(name));
    for (int round = 0; round < 60; ++round) {
      auto changed = contents;
      auto& text = changed.at(round % 4 == 3 ? weights_record : graph_record);
      for (int i = 0; i < 2; ++i) {
        const auto at = text.find_first_of("0123456789", random() % text.size());
        if (at != std::string::npos) text[at] = static_cast<char>('0' + random() % 10);
      }
      const test::scratch_file file(test::zip(changed));
      // Without folding: a number that became a size would be allocated at load, within the machine's memory.
      const auto loaded = model::load(file.path(), pass_options::none());
      if (!loaded) CHECK(!loaded.error().message.empty());
    }
  }
}
