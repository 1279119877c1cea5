#include <doctest/doctest.h>

#include "executor/graph_uses.hpp"
#include "executor/passes.hpp"
#include "executor/passes_precision.hpp"
#include "unit/executor/small_graph.hpp"

namespace {

using namespace shoal::executor;
using shoal::test::batch;
using shoal::test::small_graph;

/// x -> convolution, relu -> a block of two convolutions with a shortcut around them, as residual networks have it.
struct residual_block : small_graph {
  value_id x = input({batch, 8, 6, 6});
  value_id begin = relu(convolution(x));
  value_id inner = relu(convolution(begin));
  value_id outer = convolution(inner);
  value_id end = relu(node("add.Tensor", {{"self", reference{outer}}, {"other", reference{begin}}}, {batch, 8, 6, 6}));
  value_id last = convolution(end);

  residual_block() {
    output(last);
    fuse_convolutions(made(), true);
  }
  value_id convolution(value_id of, std::int64_t groups = 1) {
    return node("conv2d.default",
                {{"input", reference{of}},
                 {"weight", reference{weight({8, 8 / groups, 3, 3})}},
                 {"padding", item_list{{std::int64_t{1}, std::int64_t{1}}}},
                 {"groups", groups}},
                {batch, 8, 6, 6});
  }
  value_id relu(value_id of) { return node("relu.default", {{"self", reference{of}}}, {batch, 8, 6, 6}); }

  [[nodiscard]] std::map<std::string, node_precision> all(precision which) {
    std::map<std::string, node_precision> choices;
    for (const auto& each : choosable_nodes(made())) {
      choices[each.name] = {which, {}, false};
      if (which == precision::int8) choices[each.name].input_range = {0, 4};
    }
    return choices;
  }
  /// Without what packs.
  [[nodiscard]] std::string running() const {
    std::string all;
    for (const auto& each : const_cast<residual_block*>(this)->made().nodes) {
      const auto name = each.target.substr(sizeof("torch.ops.shoal.") - 1);
      if (!name.starts_with("pack")) all += (all.empty() ? "" : " ") + name;
    }
    return all;
  }
};

}  // namespace

TEST_CASE("fused convolutions are what precisions are chosen for, without those of groups") {
  residual_block g;
  g.output(g.convolution(g.last, 4));
  fuse_convolutions(g.made(), true);
  const auto nodes = choosable_nodes(g.made());
  REQUIRE(nodes.size() == 4);
  for (const auto& each : nodes) {
    CHECK(each.takes_range);
    CHECK(each.columns == 8);
    CHECK(each.inner == 72);
    CHECK(each.precisions == std::vector<precision>{precision::fp32, precision::bf16, precision::int8});
  }
  CHECK(nodes[0].input == g.x);
  CHECK(nodes[1].input == g.begin);
}

TEST_CASE("images stay in bytes between int8 convolutions, and beside fp32 where a shortcut reads them too") {
  residual_block g;
  apply_precision(g.made(), g.all(precision::int8));
  CHECK(g.running() ==
        "quantise_images.default convolution_int8_both.default convolution_int8_images.default "
        "convolution_int8_images.default convolution_int8.default");
  const auto& nodes = g.made().nodes;
  const auto& both =
      *std::find_if(nodes.begin(), nodes.end(), [](const auto& each) { return each.outputs.size() == 2; });
  CHECK(both.outputs[0].values[0] == g.begin);
  std::size_t readers_of_bytes = 0;
  for (const auto& each : nodes) {
    readers_of_bytes += value_of(each, "input") == both.outputs[1].values[0] ? 1 : 0;
    if (each.target.find("convolution_int8") != std::string::npos && value_of(each, "other"))
      CHECK(*value_of(each, "other") == g.begin);
  }
  CHECK(readers_of_bytes == 1);
}

TEST_CASE("where a neighbour is not int8, fp32 is what is handed over") {
  residual_block g;
  auto choices = g.all(precision::int8);
  const auto nodes = choosable_nodes(g.made());
  SUBCASE("bf16 between") {
    choices[nodes[1].name] = {precision::bf16, {}, false};
    apply_precision(g.made(), choices);
    CHECK(g.running() ==
          "quantise_images.default convolution_int8.default convolution_bf16.default quantise_images.default "
          "convolution_int8_images.default convolution_int8.default");
  }
  SUBCASE("fp32 between") {
    choices.erase(nodes[1].name);
    apply_precision(g.made(), choices);
    CHECK(g.running() ==
          "quantise_images.default convolution_int8.default convolution.default quantise_images.default "
          "convolution_int8_images.default convolution_int8.default");
  }
  SUBCASE("images with scales of their own are quantised when they are whole") {
    for (auto& [name, choice] : choices) choice.input_range.reset();
    apply_precision(g.made(), choices);
    CHECK(g.running() ==
          "quantise_images.default convolution_int8.default quantise_images.default convolution_int8.default "
          "quantise_images.default convolution_int8.default quantise_images.default convolution_int8.default");
  }
}

TEST_CASE("images that several read in one range are quantised once, and again for another range") {
  residual_block g;
  g.output(g.convolution(g.begin));
  fuse_convolutions(g.made(), true);
  auto choices = g.all(precision::int8);
  const auto count = [&] {
    std::size_t found = 0;
    for (const auto& each : g.made().nodes) found += each.target.find("quantise_images") != std::string::npos ? 1 : 0;
    return found;
  };
  SUBCASE("one range") {
    apply_precision(g.made(), choices);
    CHECK(count() == 1);  // of the network's input
  }
  SUBCASE("two ranges") {
    choices[choosable_nodes(g.made()).back().name].input_range = {0, 2};
    apply_precision(g.made(), choices);
    CHECK(count() == 2);
  }
}

TEST_CASE("an activation that is more than limits keeps its convolution in fp32's hands") {
  residual_block g;
  g.output(g.convolution(g.node("silu.default", {{"self", reference{g.convolution(g.x)}}}, {batch, 8, 6, 6})));
  fuse_convolutions(g.made(), true);
  apply_precision(g.made(), g.all(precision::int8));
  const auto& nodes = g.made().nodes;
  for (const auto& each : nodes) {
    const auto* activation = find_argument(each, "activation");
    if (activation != nullptr && std::get<std::string>(*activation) == "swish")
      CHECK(each.target == "torch.ops.shoal.convolution_int8.default");
  }
}

TEST_CASE("a plan that gives a convolution what is for linears, or a linear what is for convolutions, is refused") {
  residual_block g;
  const auto convolution = choosable_nodes(g.made()).front().name;
  const auto reason = [](small_graph& of, const std::string& name, const node_precision& choice) {
    const auto checked = check_nodes(of.made(), {{name, choice}});
    return checked ? std::string() : checked.error().message;
  };
  CHECK(reason(g, convolution, {precision::int8, {1, 2}, false}).find("smooths") != std::string::npos);
  CHECK(reason(g, convolution, {precision::int8_weight, {}, false}).find("int8_weight") != std::string::npos);
  CHECK(reason(g, convolution, {precision::int8, {}, true}).empty());
  small_graph other;
  const auto w = other.weight({16, 8});
  other.output(other.node("linear.default", {{"input", reference{other.input({batch, 8})}}, {"weight", reference{w}}},
                          {batch, 16}));
  pack_linear(other.made());
  const auto linear = choosable_nodes(other.made()).at(0).name;
  CHECK(reason(other, linear, {precision::int8, {}, false, value_range{0, 1}}).find("input_range") !=
        std::string::npos);
}
