// Plans as files: what is written is read again, and what is damaged is refused with a sentence.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "executor/device_signature.hpp"
#include "executor/precision_plan.hpp"

namespace {

using namespace shoal;
using namespace shoal::executor;

precision_plan some_plan() {
  precision_plan plan;
  plan.model = "abc";
  plan.device = "cpu/avx2/A Processor (R) @ 2 GHz";
  plan.policy = "measured";
  plan.nodes["linear"] = {precision::int8, {0, -3, 64}, true};
  plan.nodes["linear_1"] = {precision::bf16, {}, false};
  plan.nodes["linear_2"] = {precision::fp32, {}, false};
  plan.nodes["conv2d"] = {precision::int8, {}, true, value_range{-0.125, 5.1}};
  plan.speedup = 3.25;
  plan.error = 0.0125;
  plan.budget = 0.03;
  return plan;
}

std::string refusal(const std::string& text) {
  const auto read = parse_plan(text, "plan.json");
  REQUIRE(!read.has_value());
  return read.error().message;
}

std::string with_node(const std::string& node) {
  return R"({"shoal_plan":1,"model":"m","device":"d","policy":"p","nodes":{"linear":)" + node + "}}";
}

}  // namespace

TEST_CASE("a plan that is written is read again, without the nodes that stay in fp32") {
  const auto plan = some_plan();
  const auto read = parse_plan(to_text(plan), "plan.json");
  REQUIRE_MESSAGE(read.has_value(), (read ? "" : read.error().message));
  CHECK(read->model == plan.model);
  CHECK(read->device == plan.device);
  CHECK(read->policy == plan.policy);
  CHECK(read->nodes.size() == 3);
  CHECK(read->nodes.at("conv2d") == plan.nodes.at("conv2d"));
  CHECK(read->nodes.at("linear") == plan.nodes.at("linear"));
  CHECK(read->nodes.at("linear_1") == plan.nodes.at("linear_1"));
  CHECK(read->speedup == plan.speedup);
  CHECK(read->error == plan.error);
  CHECK(read->budget == plan.budget);
  CHECK(read->epoch() == plan.epoch());
}

TEST_CASE("an epoch is of what a plan decides, not of what was measured") {
  auto plan = some_plan();
  const auto epoch = plan.epoch();
  plan.speedup = 9;
  plan.device = "another";
  CHECK(plan.epoch() == epoch);
  plan.nodes["linear"].clip = false;
  CHECK(plan.epoch() != epoch);
  plan = some_plan();
  plan.nodes["conv2d"].input_range->most = 5.2;
  CHECK(plan.epoch() != epoch);
  plan.nodes.clear();
  CHECK(plan.epoch() == "fp32");
  plan.nodes["linear"] = {};
  CHECK(plan.is_fp32());
  CHECK(plan.epoch() == "fp32");
}

TEST_CASE("a damaged plan is refused with where and why") {
  const auto whole = to_text(some_plan());
  for (std::size_t cut = 0; cut + 2 < whole.size(); cut += 7) CHECK(!parse_plan(whole.substr(0, cut), "x").has_value());
  CHECK(refusal("[]").find("plan.json") != std::string::npos);
  CHECK(refusal(R"({"shoal_plan":2})").find("another format") != std::string::npos);
  for (const auto* range : {"[1]", "[0,1,2]", "[1,2]", "[0,0]", "[0,1e31]", R"([0,"NaN"])", R"([0,"Infinity"])", "3",
                            "[-1e-40,0]", R"(["a",1])", "[null,1]"}) {
    CAPTURE(range);
    CHECK(!parse_plan(with_node(R"({"precision":"int8","input_range":)" + std::string(range) + "}"), "x").has_value());
  }
  CHECK(refusal(with_node(R"({"precision":"bf16","input_range":[0,1]})")).find("int8 alone") != std::string::npos);
  CHECK(refusal(with_node(R"({"precision":"int4"})")).find("int4") != std::string::npos);
  CHECK(refusal(with_node(R"({"precision":3})")).find("linear") != std::string::npos);
  CHECK(refusal(with_node(R"({})")).find("precision") != std::string::npos);
  CHECK(refusal(with_node(R"({"precision":"int8","smoothing":[65]})")).find("64") != std::string::npos);
  CHECK(refusal(with_node(R"({"precision":"int8","smoothing":[-9223372036854775808]})")).find("64") !=
        std::string::npos);
  CHECK(refusal(with_node(R"({"precision":"int8","smoothing":[0.5]})")).find("linear") != std::string::npos);
  CHECK(refusal(with_node(R"({"precision":"bf16","smoothing":[1]})")).find("int8 alone") != std::string::npos);
  CHECK(refusal(with_node(R"({"precision":"int8","clip":"yes"})")).find("clip") != std::string::npos);
  CHECK(refusal(with_node(R"({"precision":"int8","smothing":[1]})")).find("smothing") != std::string::npos);
  CHECK(refusal(R"({"shoal_plan":1,"model":"m","device":"d","policy":"p","nodes":{},"generations":3})")
            .find("generations") != std::string::npos);
  CHECK(
      refusal(R"({"shoal_plan":1,"model":"m","model":"n","device":"d","policy":"p","nodes":{}})").find("model twice") !=
      std::string::npos);
  CHECK(refusal(with_node(R"({"precision":"int8"},"linear":{"precision":"bf16"})")).find("linear twice") !=
        std::string::npos);
  CHECK(refusal("{").find("shoal tune") != std::string::npos);
  CHECK(refusal(std::string(100000, '[')).find("plan.json") != std::string::npos);
  CHECK(refusal(R"({"shoal_plan":1,"model":"m","device":"d","policy":"p","nodes":{},"measured":{"budget":1e308}})")
            .find("below 1") != std::string::npos);
}

TEST_CASE("plans lie beside their archive, one for each device, and replace each other whole") {
  const auto folder = std::filesystem::temp_directory_path() / ("shoal-plan-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const auto file = plan_path(folder / "model.pt2", some_plan().device);
  CHECK(file.filename() == "plan.cpu-avx2-A-Processor-R-2-GHz.json");
  CHECK(read_plan(file).error().code == errc::not_found);
  REQUIRE(write_plan(file, some_plan()).has_value());
  CHECK(read_plan(file)->epoch() == some_plan().epoch());
  auto other = some_plan();
  other.nodes.erase("linear");
  REQUIRE(write_plan(file, other).has_value());
  CHECK(read_plan(file)->epoch() == other.epoch());
  CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
  std::ofstream(file) << "{";
  CHECK(read_plan(file).error().code == errc::corrupt);
  CHECK(read_plan(folder).error().code == errc::unavailable);  // a directory is no plan that is not there
  CHECK(!write_plan(folder / "missing" / "plan.json", other).has_value());
  std::filesystem::remove_all(folder);
}

TEST_CASE("a processor has one signature, which says its instruction set") {
  CHECK(device_signature() == device_signature());
  CHECK(device_signature().starts_with("cpu/"));
  for (const auto which : {precision::fp32, precision::bf16, precision::fp16, precision::int8, precision::int8_weight})
    CHECK(parse_precision(name_of(which)) == which);
  CHECK(!parse_precision("fp8"));
}
