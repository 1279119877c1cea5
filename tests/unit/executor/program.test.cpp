#include <doctest/doctest.h>

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include "executor/program.hpp"
#include "unit/executor/graph_builder.hpp"

using namespace shoal;
using namespace shoal::executor;

TEST_CASE("a write in place is not mistaken for one to a weight that no node reads") {
  const c10::InferenceMode inference;
  test::graph_builder graph;
  const auto x = graph.input({4});
  std::vector<at::Tensor> weights;
  for (int i = 0; i < 64; ++i) {
    graph.weight({4});
    weights.push_back(at::zeros({4}));
  }
  auto last = graph.node("abs.default", {{"self", reference{x}}}, {4});
  for (int i = 0; i < 8; ++i) {
    graph.node("relu_.default", {{"self", reference{last}}}, {4});
    last = graph.node("abs.default", {{"self", reference{last}}}, {4});
  }
  graph.output(last);
  auto built = program::build(graph.made, weights, true);
  REQUIRE(built.has_value());
  weights.clear();  // their memory may now be another tensor's
  const auto given = built->run({at::full({4}, -2.0)});
  REQUIRE_MESSAGE(given.has_value(), (given ? "" : given.error().message));
  CHECK(given->front().equal(at::full({4}, 2.0)));
}
