#include "executor/node_reach.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::executor;

namespace {

precision_plan planned() {
  precision_plan plan;
  plan.nodes["linear"] = {precision::int8, {}, true};
  plan.nodes["linear"].reach = 10;
  plan.nodes["other"] = {precision::int8, {}, true};
  plan.nodes["convolution"] = {precision::int8, {}, true, value_range{0, 6}};
  plan.nodes["convolution"].saturation = 0.01;
  return plan;
}

}  // namespace

TEST_CASE("a node is out of reach when its input goes far beyond calibration, or is not finite") {
  const auto plan = planned();
  CHECK(node_out_of_reach({}, plan).empty());
  CHECK(node_out_of_reach({{"linear", {39, 0, true}}, {"other", {1e9, 0, true}}}, plan).empty());  // not measured
  CHECK(node_out_of_reach({{"linear", {41, 0, true}}}, plan) == "linear");
  CHECK(node_out_of_reach({{"convolution", {0, 0.024, true}}}, plan).empty());
  CHECK(node_out_of_reach({{"convolution", {0, 0.03, true}}}, plan) == "convolution");
  CHECK(node_out_of_reach({{"linear", {41, 0, true}}, {"convolution", {0, 0.5, true}}}, plan) == "convolution");
  CHECK(node_out_of_reach({{"other", {0, 0, false}}, {"linear", {1e9, 0, true}}}, plan) == "other");
  CHECK(node_out_of_reach({{"a stranger", {0, 0, false}}}, plan).empty());
}

TEST_CASE("what was reached is kept with a plan, and no part of its epoch") {
  const auto plan = planned();
  const auto read = parse_plan(to_text(plan), "the plan");
  REQUIRE(read);
  CHECK(read->nodes == plan.nodes);
  auto other = plan;
  other.nodes["linear"].reach = 11;
  CHECK(other.epoch() == plan.epoch());
}
