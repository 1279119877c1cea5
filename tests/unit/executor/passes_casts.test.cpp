#include <doctest/doctest.h>

#include "executor/graph_uses.hpp"
#include "executor/passes_casts.hpp"
#include "unit/executor/small_graph.hpp"

namespace {

using namespace shoal::executor;
using shoal::test::batch;
using shoal::test::small_graph;

/// x -> linear -> gelu -> linear -> + x, and a linear of x beside.
struct block : small_graph {
  value_id x = input({batch, 8});
  value_id wide = linear(x, 24, 8);
  value_id active = node("gelu.default", {{"self", reference{wide}}}, {batch, 24});
  value_id narrow = linear(active, 8, 24);
  value_id sum = node("add.Tensor", {{"self", reference{narrow}}, {"other", reference{x}}}, {batch, 8});

  block() { output(sum); }
  value_id linear(value_id of, std::int64_t columns, std::int64_t inner) {
    const auto w = weight({columns, inner});
    return node("linear.default", {{"input", reference{of}}, {"weight", reference{w}}}, {batch, columns});
  }
};

node_precision in(precision which) {
  node_precision node;
  node.as = which;
  return node;
}

const node& named(const graph& of, std::string_view name) {
  for (const auto& each : of.nodes)
    if (each.name == name) return each;
  FAIL("there is no node " << name);
  return of.nodes.front();
}

std::string name_read(const graph& of, const node& by, std::string_view argument) {
  return of.values[value_of(by, argument).value()].name;
}

}  // namespace

TEST_CASE("products and attention are what is cast, with the sizes of their weights") {
  block g;
  const auto nodes = castable_nodes(g.made());
  REQUIRE(nodes.size() == 2);
  CHECK(nodes[0].columns == 24);
  CHECK(nodes[0].inner == 8);
  CHECK(nodes[0].can(precision::bf16));
  CHECK(nodes[0].can(precision::fp16));
  CHECK(!nodes[0].can(precision::int8));
  CHECK(choosable_nodes(g.made(), narrowing::casts).size() == 2);
  CHECK(choosable_nodes(g.made()).empty());
  CHECK(check_nodes(g.made(), {{nodes[0].name, in(precision::fp16)}}, narrowing::casts).has_value());
  CHECK(!check_nodes(g.made(), {{nodes[0].name, in(precision::int8)}}, narrowing::casts).has_value());
  CHECK(!check_nodes(g.made(), {{"nobody", in(precision::fp16)}}, narrowing::casts).has_value());
}

TEST_CASE("a chain is cast once, and a sum with an fp32 tensor is fp32") {
  block g;
  apply_casts(g.made(), {{"node0", in(precision::bf16)}, {"node2", in(precision::bf16)}});
  // The input and two weights; nothing between the linears, nothing before the sum.
  CHECK(g.operators() ==
        "aten.to.dtype aten.to.dtype aten.linear.default aten.gelu.default aten.to.dtype aten.linear.default "
        "aten.add.Tensor");
  CHECK(name_read(g.made(), named(g.made(), "node0"), "input") == "bf16_of_v0");
  CHECK(g.made().outputs[0].id == g.sum);
  CHECK(is_fp32(g.made(), g.sum));
  CHECK(!is_fp32(g.made(), g.active));
}

TEST_CASE("what reads numbers of another kind gets them in its own") {
  block g;
  apply_casts(g.made(), {{"node0", in(precision::bf16)}});
  // gelu follows in bf16; the second linear is fp32 and reads a cast of it.
  CHECK(name_read(g.made(), named(g.made(), "node2"), "input") == "fp32_of_v3");
  block both;
  apply_casts(both.made(), {{"node0", in(precision::bf16)}, {"node2", in(precision::fp16)}});
  CHECK(name_read(both.made(), named(both.made(), "node2"), "input") == "fp16_of_v3");
}

TEST_CASE("outputs are fp32, and nothing changes without a plan") {
  small_graph g;
  const auto x = g.input({batch, 8});
  const auto w = g.weight({16, 8});
  const auto y = g.node("linear.default", {{"input", reference{x}}, {"weight", reference{w}}}, {batch, 16});
  g.output(y);
  apply_casts(g.made(), {});
  CHECK(g.operators() == "aten.linear.default");
  apply_casts(g.made(), {{"node0", in(precision::fp16)}});
  CHECK(g.operators() == "aten.to.dtype aten.to.dtype aten.linear.default aten.to.dtype");
  CHECK(g.made().values[g.made().outputs[0].id].name == "fp32_of_v2");
}

TEST_CASE("masks are bounded before they are cast, and masks of booleans stay") {
  small_graph g;
  const auto q = g.input({batch, 4, 8});
  const auto mask = g.input({batch, 1, 4});
  const auto kept = g.input({batch, 1, 4}, archive_dtype{12});
  const auto attention = [&](value_id masked) {
    return g.node(
        "scaled_dot_product_attention.default",
        {{"query", reference{q}}, {"key", reference{q}}, {"value", reference{q}}, {"attn_mask", reference{masked}}},
        {batch, 4, 8});
  };
  const auto first = attention(mask);
  const auto second = attention(kept);
  g.output(first);
  g.output(second);
  apply_casts(g.made(), {{"node0", in(precision::fp16)}, {"node1", in(precision::fp16)}});
  CHECK(name_read(g.made(), named(g.made(), "node0"), "attn_mask") == "fp16_of_bounded_fp16_v1");
  CHECK(name_read(g.made(), named(g.made(), "node1"), "attn_mask") == "v2");
}

TEST_CASE("a graph that writes in place has nothing to choose") {
  block g;
  g.node("relu_.default", {{"self", reference{g.sum}}}, {batch, 8});
  CHECK(castable_nodes(g.made()).empty());
}
