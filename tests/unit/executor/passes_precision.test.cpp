#include <doctest/doctest.h>

#include "executor/graph_uses.hpp"
#include "executor/passes.hpp"
#include "executor/passes_precision.hpp"
#include "unit/executor/small_graph.hpp"

namespace {

using namespace shoal::executor;
using shoal::test::batch;
using shoal::test::small_graph;

/// x -> layer norm -> two linears that read it; the first goes on through gelu into a third.
struct block : small_graph {
  value_id x = input({batch, 8});
  value_id scale = weight({8});
  value_id normed =
      node("layer_norm.default",
           {{"input", reference{x}}, {"normalized_shape", item_list{{std::int64_t{8}}}}, {"weight", reference{scale}}},
           {batch, 8});
  value_id wide = linear(normed, 24, 8);
  value_id beside = linear(normed, 10, 8);
  value_id active = node("gelu.default", {{"self", reference{wide}}}, {batch, 24});
  value_id narrow = linear(active, 8, 24);

  block() {
    output(narrow);
    output(beside);
    fuse_layer_norm(made());
    pack_linear(made());
    fuse_activation(made());
  }
  value_id linear(value_id of, std::int64_t columns, std::int64_t inner) {
    const auto w = weight({columns, inner});
    return node("linear.default", {{"input", reference{of}}, {"weight", reference{w}}}, {batch, columns});
  }
  /// The linear with so many columns. (The one that a gelu follows moves to the gelu's place.)
  [[nodiscard]] choosable_node with(std::int64_t columns) {
    for (const auto& each : choosable_nodes(made()))
      if (each.columns == columns) return each;
    FAIL("there is no linear of " << columns);
    return {};
  }
  /// "int8" for all.
  [[nodiscard]] std::map<std::string, node_precision> all(precision which) {
    std::map<std::string, node_precision> choices;
    for (const auto& each : choosable_nodes(made())) choices[each.name] = {which, {}, false};
    return choices;
  }
};

const node& node_of(const graph& in, std::string_view target) {
  for (const auto& each : in.nodes)
    if (each.target == target) return each;
  FAIL("there is no " << target);
  return in.nodes.front();
}

}  // namespace

TEST_CASE("packed linears are what precisions are chosen for") {
  block g;
  const auto nodes = choosable_nodes(g.made());
  REQUIRE(nodes.size() == 3);
  CHECK(g.with(24).inner == 8);
  CHECK(g.with(24).input == g.with(10).input);
  CHECK(g.with(8).inner == 24);
  CHECK(nodes[0].precisions == std::vector<precision>{precision::fp32, precision::bf16, precision::fp16,
                                                      precision::int8, precision::int8_weight});
}

TEST_CASE("rows are quantised by what makes them: by a layer norm beside its result, by a linear in its place") {
  block g;
  apply_precision(g.made(), g.all(precision::int8));
  CHECK(g.operators() ==
        "shoal.pack_linear_int8.default shoal.pack_linear_int8.default shoal.pack_linear_int8.default "
        "shoal.add_layer_norm_rows.default shoal.linear_int8.default shoal.linear_int8_rows.default "
        "shoal.linear_int8.default");
  const auto& norm = node_of(g.made(), "torch.ops.shoal.add_layer_norm_rows.default");
  REQUIRE(norm.outputs.size() == 2);
  CHECK(norm.outputs[0].values[0] == g.normed);
  std::size_t readers = 0;
  for (const auto& each : g.made().nodes) readers += value_of(each, "rows") == norm.outputs[1].values[0] ? 1 : 0;
  CHECK(readers == 2);
}

TEST_CASE("rows that several read are quantised once, and again for those with other smoothing") {
  block g;
  auto choices = g.all(precision::int8);
  choices[g.with(10).name].smoothing = {1, 2, 3, 4, 5, 6, 7, 8};
  REQUIRE(check_nodes(g.made(), choices).has_value());
  apply_precision(g.made(), choices);
  std::size_t quantising = 0;
  for (const auto& each : g.made().nodes) quantising += each.target.find("quantise_rows") != std::string::npos ? 1 : 0;
  CHECK(quantising == 1);
  CHECK(g.operators().find("smoothing_factors") != std::string::npos);
}

TEST_CASE("a linear whose result others read, too, keeps it, and its rows are quantised beside") {
  block g;
  for (const auto& each : g.made().nodes)
    if (each.name == g.with(24).name) g.output(*single_output(each));
  apply_precision(g.made(), g.all(precision::int8));
  CHECK(g.operators().find("linear_int8_rows") == std::string::npos);
}

TEST_CASE("bf16 and int8 weights take rows as they are, and nodes that are not named stay") {
  block g;
  apply_precision(g.made(), {{g.with(24).name, {precision::bf16, {}, false}},
                             {g.with(10).name, {precision::int8_weight, {}, true}},
                             {g.with(8).name, {precision::fp32, {}, false}}});
  CHECK(g.operators().find("shoal.linear_bf16.default") != std::string::npos);
  CHECK(g.operators().find("shoal.linear_int8_weight.default") != std::string::npos);
  CHECK(g.operators().find("shoal.packed_linear.default") != std::string::npos);
  CHECK(g.operators().find("quantise") == std::string::npos);
  // What nothing reads any more is not packed.
  std::size_t packings = 0;
  for (const auto& each : g.made().nodes)
    packings += each.target.find("pack_linear.default") != std::string::npos ? 1 : 0;
  CHECK(packings == 1);
}

TEST_CASE("a graph without choices is left as it is") {
  block g;
  const auto before = g.operators();
  apply_precision(g.made(), {});
  CHECK(g.operators() == before);
}

TEST_CASE("choices for nodes that there are not, or that do not fit, are refused by name") {
  block g;
  const auto name = choosable_nodes(g.made())[0].name;
  const auto reason = [&](const std::map<std::string, node_precision>& choices) {
    const auto checked = check_nodes(g.made(), choices);
    REQUIRE(!checked.has_value());
    return checked.error().message;
  };
  CHECK(reason({{"nobody", {precision::int8, {}, false}}}).find("nobody") != std::string::npos);
  CHECK(reason({{"node0", {precision::int8, {}, false}}}).find("node0") != std::string::npos);
  CHECK(reason({{name, {precision::int8, {1}, false}}}).find("1 channels") != std::string::npos);
  CHECK(check_nodes(g.made(), {{name, {precision::int8, {}, true}}}).has_value());
}

TEST_CASE("attention of ours can make its products in bf16") {
  small_graph g;
  const auto q = g.input({batch, 4, 10, 32});
  g.output(g.node("scaled_dot_product_attention.default",
                  {{"query", reference{q}}, {"key", reference{q}}, {"value", reference{q}}}, {batch, 4, 10, 32}));
  fuse_attention(g.made());
  const auto nodes = choosable_nodes(g.made());
  REQUIRE(nodes.size() == 1);
  CHECK(nodes[0].precisions == std::vector<precision>{precision::fp32, precision::bf16});
  apply_precision(g.made(), {{nodes[0].name, {precision::bf16, {}, false}}});
  CHECK(std::get<std::string>(*find_argument(g.made().nodes[0], "numbers")) == "bf16");
}

TEST_CASE("an inner size whose sums might not fit is not for int8") {
  small_graph g;
  const auto x = g.input({batch, 70000});
  const auto w = g.weight({16, 70000});
  g.output(g.node("linear.default", {{"input", reference{x}}, {"weight", reference{w}}}, {batch, 16}));
  pack_linear(g.made());
  const auto nodes = choosable_nodes(g.made());
  REQUIRE(nodes.size() == 1);
  CHECK(nodes[0].precisions == std::vector<precision>{precision::fp32, precision::bf16, precision::fp16});
  CHECK(!check_nodes(g.made(), {{nodes[0].name, {precision::int8, {}, false}}}).has_value());
}
