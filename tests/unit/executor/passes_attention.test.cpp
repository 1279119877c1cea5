#include <doctest/doctest.h>

#include "executor/graph_uses.hpp"
#include "executor/passes.hpp"
#include "unit/executor/small_graph.hpp"

namespace {

using namespace shoal::executor;
using shoal::test::batch;
using shoal::test::small_graph;

struct attention_graph : small_graph {
  std::string fused(std::int64_t depth, const std::vector<named_argument>& more, archive_dtype type = fp32) {
    std::vector<named_argument> inputs;
    for (const auto* name : {"query", "key", "value"})
      inputs.push_back({name, reference{input({batch, 2, 10, depth}, type)}});
    inputs.insert(inputs.end(), more.begin(), more.end());
    output(node("scaled_dot_product_attention.default", inputs, {batch, 2, 10, depth}, type));
    fuse_attention(made());
    return operators();
  }
};

constexpr auto ours = "shoal.attention.default";
constexpr auto theirs = "aten.scaled_dot_product_attention.default";

}  // namespace

TEST_CASE("attention of fp32 heads that the kernel takes is fused, mask and scale with it") {
  attention_graph g;
  const auto mask = g.input({batch, 1, 1, 10});
  CHECK(g.fused(32, {{"attn_mask", reference{mask}}, {"dropout_p", 0.0}, {"is_causal", false}, {"scale", 0.5}}) ==
        ours);
  const auto& fused = g.made().nodes[0];
  CHECK(value_of(fused, "q").has_value());
  CHECK(value_of(fused, "v").has_value());
  CHECK(value_of(fused, "mask") == mask);
  CHECK(find_argument(fused, "dropout_p") == nullptr);
  CHECK(std::get<double>(*find_argument(fused, "scale")) == 0.5);
}

TEST_CASE("a step's keys and values are read where they are kept, without joining them to the new token's") {
  const auto joined = [](std::int64_t queries, std::int64_t dim, bool keeps, bool causal = false) {
    small_graph g;
    const auto q = g.input({batch, 2, queries, 32});
    const auto join = [&](std::int64_t tokens) {
      const auto kept = g.input({batch, 2, 40, 32});
      const auto added = g.input({batch, 2, tokens, 32});
      return g.node("cat.default", {{"tensors", item_list{{reference{kept}, reference{added}}}}, {"dim", dim}},
                    {batch, 2, 40 + tokens, 32});
    };
    const auto k = join(1);
    const auto v = join(1);
    g.output(g.node("scaled_dot_product_attention.default",
                    {{"query", reference{q}}, {"key", reference{k}}, {"value", reference{v}}, {"is_causal", causal}},
                    {batch, 2, queries, 32}));
    if (keeps) g.output(k);
    fuse_attention(g.made());
    return g;
  };
  const auto fused = joined(1, 2, false);
  CHECK(fused.operators() == ours);
  CHECK(joined(1, -2, false).operators() == ours);
  const std::string apart = std::string("aten.cat.default aten.cat.default ") + ours;
  CHECK(joined(2, 2, false).operators() == apart);
  CHECK(joined(1, 1, false).operators() == apart);
  CHECK(joined(1, 2, true).operators() == apart);
  CHECK(joined(1, 2, false, true).operators() == apart);
}

TEST_CASE("causal attention is fused") { CHECK(attention_graph().fused(64, {{"is_causal", true}}) == ours); }

TEST_CASE("attention stays when heads, types, masks or groups are not the kernel's") {
  CHECK(attention_graph().fused(40, {}) == theirs);
  CHECK(attention_graph().fused(256, {}) == theirs);
  CHECK(attention_graph().fused(batch, {}) == theirs);
  CHECK(attention_graph().fused(32, {}, small_graph::fp64) == theirs);
  CHECK(attention_graph().fused(32, {{"enable_gqa", true}}) == theirs);
  attention_graph g;
  const auto boolean = g.input({10, 10}, archive_dtype{12});
  CHECK(g.fused(32, {{"attn_mask", reference{boolean}}}) == theirs);
}

TEST_CASE("attention stays where the graph writes in place") {
  attention_graph g;
  const auto x = g.input({batch, 8});
  g.output(g.node("mul_.Tensor", {{"self", reference{x}}, {"other", 2.0}}, {batch, 8}));
  CHECK(g.fused(32, {}).ends_with(theirs));
}
