// What is said of a model before it is served.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "unit/executor/archive_writer.hpp"
#include "unit/executor/fixture.hpp"
#include "worker/model_report.hpp"

using namespace shoal;
using executor::nodes_in;
using nlohmann::json;
using test::fixture_archive;
using worker::report_on;

namespace {

constexpr auto graph_record = "models/model.json";

bool refuses(const worker::model_report& report, const std::string& node, const std::string& part) {
  return std::any_of(report.graph.refused.begin(), report.graph.refused.end(), [&](const auto& each) {
    return each.node == node && each.reason.message.find(part) != std::string::npos;
  });
}

std::size_t nodes_of(const executor::node_kinds& kinds, const std::string& kind) {
  const auto found = kinds.find(kind);
  return found == kinds.end() ? 0 : found->second;
}

worker::model_report changed(const std::string& fixture, const std::function<void(json&)>& change) {
  const test::scratch_file file(test::with_json(fixture_archive(fixture), graph_record, change));
  return report_on(file.path()).value();
}

}  // namespace

TEST_CASE("an operator outside the allow-list is reported with its node, its name and the reason") {
  const auto random = report_on(fixture_archive("graphs/random")).value();
  CHECK(!random.runs());
  CHECK(!random.figures.has_value());
  REQUIRE(!random.graph.refused.empty());
  CHECK(random.graph.refused.front().target.find("rand_like") != std::string::npos);
  CHECK(refuses(random, random.graph.refused.front().node, "allow-list"));
  CHECK(refuses(report_on(fixture_archive("graphs/takes_item")).value(), "item", "allow-list"));
}

TEST_CASE("a model in training mode is reported and told to call eval()") {
  const auto report = report_on(fixture_archive("graphs/training")).value();
  CHECK(!report.runs());
  REQUIRE(!report.graph.refused.empty());
  CHECK(report.graph.refused.front().reason.message.find("eval()") != std::string::npos);
}

TEST_CASE("a buffer that the model changes is reported by its name") {
  const auto report = report_on(fixture_archive("graphs/mutates_buffer")).value();
  CHECK(!report.runs());
  CHECK(refuses(report, "add_", "the weight or buffer count"));
}

TEST_CASE("everything that is refused is reported, not only the first of it") {
  const auto report = changed("graphs/several", [](json& whole) {
    auto& nodes = whole["graph_module"]["graph"]["nodes"];
    REQUIRE(nodes.size() >= 3);
    nodes[0]["target"] = "torch.ops.aten.rand_like.default";
    nodes[1]["inputs"][0]["arg"] = {{"as_graph", {{"name", "body"}}}};
    nodes[2]["target"] = "torch.ops.elsewhere.open.default";
    auto& inputs = whole["graph_module"]["signature"]["input_specs"];
    inputs.push_back({{"user_input", {{"arg", {{"as_sym_int", {{"as_name", "count"}}}}}}}});
  });
  CHECK(!report.runs());
  CHECK(report.graph.refused.size() == 4);
  const auto says = [&](const std::string& part) {
    return std::count_if(report.graph.refused.begin(), report.graph.refused.end(),
                         [&](const auto& each) { return each.reason.message.find(part) != std::string::npos; });
  };
  CHECK(says("allow-list") == 2);
  CHECK(says("as_graph") == 1);
  CHECK(says("is not a tensor") == 1);
}

TEST_CASE("an element type that does not travel is reported for every input and output that has it") {
  const auto report = changed("graphs/arithmetic", [](json& whole) {
    auto& values = whole["graph_module"]["graph"]["tensor_values"];
    for (auto& spec : whole["graph_module"]["signature"]["input_specs"])
      if (spec.contains("user_input"))
        values[spec["user_input"]["arg"]["as_tensor"]["name"].get<std::string>()]["dtype"] = 9;
  });
  CHECK(!report.runs());
  REQUIRE(!report.graph.refused.empty());
  CHECK(std::all_of(report.graph.refused.begin(), report.graph.refused.end(), [](const auto& each) {
    return each.reason.code == errc::unsupported && each.reason.message.find("does not travel") != std::string::npos;
  }));
}

TEST_CASE("a convolutional model's fused operators and memory are reported") {
  const auto report = report_on(fixture_archive("graphs/convolutional")).value();
  REQUIRE(report.runs());
  const auto is_fused = [](const auto& kind) { return kind.first.starts_with("torch.ops.shoal."); };
  CHECK(std::none_of(report.graph.exported.begin(), report.graph.exported.end(), is_fused));
  CHECK(std::any_of(report.kinds.begin(), report.kinds.end(), is_fused));
  CHECK(report.figures->nodes == nodes_in(report.kinds));
  CHECK(report.figures->nodes_exported == nodes_in(report.graph.exported));
  CHECK(std::any_of(report.graph.passes.begin(), report.graph.passes.end(),
                    [](const auto& pass) { return pass.name == "fuse_convolutions" && pass.changed; }));
  CHECK(report.figures->made_bytes > 0);
}

TEST_CASE("MiniLM is reported with its kinds of nodes, weights, and memory at the shape that is asked for") {
  const auto small = report_on(fixture_archive("models/minilm")).value();
  REQUIRE(small.runs());
  REQUIRE(small.run.has_value());
  CHECK(!small.run->failure.has_value());
  CHECK(nodes_of(small.graph.exported, "torch.ops.aten.linear.default") > 0);
  CHECK(nodes_of(small.kinds, "torch.ops.aten.linear.default") == 0);
  CHECK(std::any_of(small.kinds.begin(), small.kinds.end(),
                    [](const auto& kind) { return kind.first.find("packed_linear") != std::string::npos; }));
  CHECK(small.figures->weight_bytes > small.graph.parameters * 3);
  CHECK(small.figures->made_bytes > 0);
  CHECK(small.run->arena_bytes > 0);
  CHECK(small.run->first_bytes > 0);
  CHECK(!small.graph.spec.batch_symbol.empty());
  CHECK(small.graph.why_not_joined.empty());

  const auto& input = small.graph.spec.inputs.front().name;
  const auto large = report_on(fixture_archive("models/minilm"), {{input, {8, 64}}}).value();
  REQUIRE(large.run.has_value());
  for (const auto& [name, dims] : large.run->inputs) CHECK(dims == shape{8, 64});  // the others have the same symbols
  CHECK(large.run->arena_bytes > small.run->arena_bytes);
}

TEST_CASE("a shape that the model does not take is an error, whatever is wrong with it") {
  const auto minilm = fixture_archive("models/minilm");
  const auto input = report_on(minilm).value().graph.spec.inputs.front().name;
  const auto largest = std::numeric_limits<std::int64_t>::max();
  for (const auto& dims : {shape{8}, shape{8, 0}, shape{8, largest}, shape{-1, 8}}) {
    const auto refused = report_on(minilm, {{input, dims}});
    REQUIRE(!refused.has_value());
    CHECK(refused.error().code == errc::invalid_argument);
  }
  const auto unknown = report_on(minilm, {{"nothing", {1}}});
  REQUIRE(!unknown.has_value());
  CHECK(unknown.error().message.find(input) != std::string::npos);
}

TEST_CASE("inputs larger than the machine's memory are refused before they are made") {
  const test::scratch_file file(test::with_json(fixture_archive("models/identity"), graph_record, [](json& whole) {
    for (auto& range : whole["range_constraints"]) range["max_val"] = std::int64_t{1} << 46;
  }));
  for (const auto& dims : {shape{1, std::int64_t{1} << 46}, shape{std::int64_t{1} << 40, std::int64_t{1} << 40}})
    CHECK(!report_on(file.path(), {{"x", dims}}).has_value());
  CHECK(report_on(file.path(), {{"x", {1, 1}}}).value().runs());
}

TEST_CASE("why requests are not joined is said by the input or output that lacks the batch dimension") {
  const auto recurrent = report_on(fixture_archive("graphs/recurrent")).value();
  CHECK(recurrent.graph.spec.batch_symbol.empty());
  CHECK(recurrent.graph.why_not_joined.find("the output last does not have") != std::string::npos);
}

TEST_CASE("a model that does not take ones is said not to, and runs all the same") {
  const auto report = changed("graphs/several", [](json& whole) {
    for (auto& each : whole["graph_module"]["graph"]["nodes"])
      if (each["target"] == "torch.ops.aten.max.dim") each["inputs"][1]["arg"]["as_int"] = 7;  // an index out of range
  });
  CHECK(report.runs());
  REQUIRE(report.run.has_value());
  REQUIRE(report.run->failure.has_value());
  CHECK(report.run->failure->message.find("torch.ops.aten.max.dim") != std::string::npos);
  CHECK(report.run->arena_bytes == 0);
}

TEST_CASE("a model that fails whatever it is given will not run, whatever shape is asked for") {
  // sizes that cannot be broadcast: not an index, so not the caller's fault
  const auto breaks = [](json& whole) {
    for (auto& each : whole["graph_module"]["graph"]["nodes"])
      if (each["target"] == "torch.ops.aten.flatten.using_ints") each["inputs"][1]["arg"]["as_int"] = 0;
  };
  const test::scratch_file file(test::with_json(fixture_archive("graphs/convolutional"), graph_record, breaks));
  for (const auto& shapes : {std::map<std::string, shape>{}, {{"image", {8, 3, 12, 16}}}}) {
    const auto report = report_on(file.path(), shapes).value();
    CHECK(!report.runs());
    CHECK(refuses(report, {}, "the node linear"));
  }
}

TEST_CASE("a model.toml that is wrong is a reason against the model") {
  const test::scratch_file file(test::read_file(fixture_archive("models/identity")));
  std::ofstream(file.path().parent_path() / "model.toml") << "max_batch = \"many\"\n";
  const auto report = report_on(file.path()).value();
  CHECK(!report.runs());
  CHECK(report.has_toml);
  REQUIRE(report.graph.refused.size() == 1);
  CHECK(report.graph.refused.front().reason.message.find("model.toml:1") != std::string::npos);
}

TEST_CASE("what is not an archive is reported, never worse") {
  const auto only_refusal = [](const std::filesystem::path& file) {
    const auto report = report_on(file).value();
    CHECK(!report.runs());
    REQUIRE(report.graph.refused.size() == 1);
    return report.graph.refused.front().reason;
  };
  CHECK(only_refusal(std::filesystem::temp_directory_path()).code == errc::not_found);
  CHECK(only_refusal("/nonexistent/model.pt2").code == errc::not_found);
  CHECK(only_refusal(test::scratch_file("").path()).code == errc::corrupt);
  CHECK(only_refusal(test::scratch_file("this is a text, not an archive\n").path()).code == errc::corrupt);
  const auto whole = test::read_file(fixture_archive("graphs/several"));
  for (std::size_t size = 0; size < whole.size(); size += 1009)
    CHECK(only_refusal(test::scratch_file(whole.substr(0, size)).path()).code == errc::corrupt);
}
