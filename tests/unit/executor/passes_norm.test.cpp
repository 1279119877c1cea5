#include <doctest/doctest.h>

#include "executor/graph_uses.hpp"
#include "executor/passes.hpp"
#include "unit/executor/small_graph.hpp"

namespace {

using namespace shoal::executor;
using shoal::test::batch;
using shoal::test::small_graph;

struct norm_graph : small_graph {
  value_id a = input({batch, 8});
  value_id b = input({batch, 8});

  value_id norm(value_id x, archive_dtype type = fp32) {
    return node("layer_norm.default",
                {{"input", reference{x}},
                 {"normalized_shape", item_list{{std::int64_t{8}}}},
                 {"weight", reference{weight({8}, type)}},
                 {"bias", argument()},
                 {"eps", 1e-12},
                 {"cudnn_enable", false}},
                {batch, 8}, type);
  }
};

}  // namespace

TEST_CASE("an addition and the layer norm that alone reads it become one node") {
  norm_graph g;
  const auto sum = g.node("add.Tensor", {{"self", reference{g.a}}, {"other", reference{g.b}}}, {batch, 8});
  const auto y = g.norm(sum);
  g.output(y);
  fuse_layer_norm(g.made());
  REQUIRE(g.operators() == "shoal.add_layer_norm.default");
  const auto& fused = g.made().nodes[0];
  CHECK(value_of(fused, "x") == g.a);
  CHECK(value_of(fused, "residual") == g.b);
  CHECK(std::get<double>(*find_argument(fused, "eps")) == 1e-12);
  CHECK(find_argument(fused, "cudnn_enable") == nullptr);
  CHECK(single_output(fused) == y);
}

TEST_CASE("a layer norm without a fitting addition before it takes its input as it is") {
  norm_graph g;
  auto x = g.a;
  SUBCASE("no addition") {}
  SUBCASE("the sum is an output too") {
    x = g.node("add.Tensor", {{"self", reference{g.a}}, {"other", reference{g.b}}}, {batch, 8});
    g.output(x);
  }
  SUBCASE("the addition scales") {
    x = g.node("add.Tensor", {{"self", reference{g.a}}, {"other", reference{g.b}}, {"alpha", 2.0}}, {batch, 8});
  }
  SUBCASE("the addition broadcasts") {
    x = g.node("add.Tensor", {{"self", reference{g.a}}, {"other", reference{g.weight({8})}}}, {batch, 8});
  }
  SUBCASE("the addition is of a number") {
    x = g.node("add.Tensor", {{"self", reference{g.a}}, {"other", 1.0}}, {batch, 8});
  }
  const auto nodes = g.made().nodes.size();
  g.output(g.norm(x));
  fuse_layer_norm(g.made());
  REQUIRE(g.made().nodes.size() == nodes + 1);
  CHECK(g.made().nodes.back().target == "torch.ops.shoal.add_layer_norm.default");
  CHECK(value_of(g.made().nodes.back(), "x") == x);
  CHECK(!value_of(g.made().nodes.back(), "residual"));
}

TEST_CASE("a layer norm stays in double precision, or where the graph writes in place") {
  norm_graph g;
  SUBCASE("double") { g.output(g.norm(g.input({batch, 8}, small_graph::fp64), small_graph::fp64)); }
  SUBCASE("in place") {
    const auto y = g.norm(g.a);
    g.output(g.node("mul_.Tensor", {{"self", reference{y}}, {"other", 2.0}}, {batch, 8}));
  }
  fuse_layer_norm(g.made());
  CHECK(g.operators().starts_with("aten.layer_norm.default"));
}
