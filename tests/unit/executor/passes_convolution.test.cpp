#include <doctest/doctest.h>

#include "executor/passes.hpp"
#include "unit/executor/graph_builder.hpp"

namespace {

using namespace shoal;
using namespace shoal::executor;
using targets = std::vector<std::string>;
using sizes = std::vector<std::int64_t>;

const sizes image{2, 4, 6, 6};

struct network : test::graph_builder {
  value_id x = input(image);

  value_id convolution(value_id from, value_id weight, argument bias = {}, archive_dtype type = fp32) {
    return node("conv2d.default",
                {{"input", reference{from}},
                 {"weight", reference{weight}},
                 {"bias", std::move(bias)},
                 {"padding", item_list{{std::int64_t{1}, std::int64_t{1}}}}},
                image, type);
  }
  value_id convolution(value_id from) { return convolution(from, weight({4, 4, 3, 3})); }

  value_id batch_norm(value_id from, bool training = false) {
    const auto vector = [&] { return reference{weight({4})}; };
    return node("batch_norm.default",
                {{"input", reference{from}},
                 {"weight", vector()},
                 {"bias", vector()},
                 {"running_mean", vector()},
                 {"running_var", vector()},
                 {"training", training},
                 {"momentum", 0.1},
                 {"eps", 1e-5}},
                image);
  }
  value_id unary(const std::string& name, value_id from) {
    return node(name + ".default", {{"self", reference{from}}}, image);
  }
  value_id sum(value_id left, value_id right) {
    return node("add.Tensor", {{"self", reference{left}}, {"other", reference{right}}}, image);
  }
};

const argument* find(const node& in, std::string_view name) {
  for (const auto& input : in.inputs)
    if (input.name == name) return &input.value;
  return nullptr;
}

std::string activation_of(const node& of) {
  const auto* found = find(of, "activation");
  return found == nullptr ? "" : std::get<std::string>(*found);
}

}  // namespace

TEST_CASE("batch norm goes into the weight and bias of the convolution before it") {
  network graph;
  const auto normed = graph.batch_norm(graph.convolution(graph.x));
  graph.output(normed);
  fold_batch_norms(graph.made);
  CHECK(graph.targets() ==
        targets{"shoal.fold_batch_norm_weight.default", "shoal.fold_batch_norm_bias.default", "aten.conv2d.default"});
  const auto& convolution = graph.made.nodes[2];
  CHECK(std::get<reference>(*find(convolution, "weight")).id == graph.made.nodes[0].outputs[0].values[0]);
  CHECK(std::get<reference>(*find(convolution, "bias")).id == graph.made.nodes[1].outputs[0].values[0]);
  CHECK(convolution.outputs[0].values[0] == normed);
}

TEST_CASE("batch norm stays where its input is read elsewhere, it trains, or a weight is not a constant") {
  network graph;
  SUBCASE("the convolution's result is read twice") {
    const auto convolved = graph.convolution(graph.x);
    graph.output(graph.batch_norm(convolved));
    graph.output(graph.unary("relu", convolved));
  }
  SUBCASE("the convolution's result is an output") {
    const auto convolved = graph.convolution(graph.x);
    graph.output(graph.batch_norm(convolved));
    graph.output(convolved);
  }
  SUBCASE("it trains") { graph.output(graph.batch_norm(graph.convolution(graph.x), true)); }
  SUBCASE("the weight is an input") {
    graph.output(graph.batch_norm(graph.convolution(graph.x, graph.input({4, 4, 3, 3}))));
  }
  SUBCASE("the bias is an input") {
    graph.output(graph.batch_norm(graph.convolution(graph.x, graph.weight({4, 4, 3, 3}), reference{graph.input({4})})));
  }
  SUBCASE("it is in double precision") {
    const auto weight = graph.weight({4, 4, 3, 3}, network::fp64);
    graph.output(graph.batch_norm(graph.convolution(graph.x, weight, {}, network::fp64)));
  }
  SUBCASE("the convolution is transposed") {
    const auto convolved = graph.convolution(graph.x);
    graph.made.nodes.back().target = "torch.ops.aten.conv_transpose2d.input";
    graph.output(graph.batch_norm(convolved));
  }
  SUBCASE("a write remains in the graph") {
    graph.output(graph.batch_norm(graph.convolution(graph.x)));
    graph.output(graph.unary("relu_", graph.x));
  }
  const auto before = graph.targets();
  fold_batch_norms(graph.made);
  CHECK(graph.targets() == before);
}

TEST_CASE("a convolution takes in the activation that alone reads it, and its weight is packed") {
  network graph;
  const auto result = graph.unary("hardswish", graph.batch_norm(graph.convolution(graph.x)));
  graph.output(result);
  fold_batch_norms(graph.made);
  fuse_convolutions(graph.made, true);
  CHECK(graph.targets() == targets{"shoal.fold_batch_norm_weight.default", "shoal.fold_batch_norm_bias.default",
                                   "shoal.pack_convolution_weight.default", "shoal.convolution.default"});
  CHECK(activation_of(graph.made.nodes[3]) == "hardswish");
  CHECK(graph.made.nodes[3].outputs[0].values[0] == result);
}

TEST_CASE("activations keep their settings") {
  network graph;
  SUBCASE("relu6") {
    graph.output(graph.unary("relu6", graph.convolution(graph.x)));
    fuse_convolutions(graph.made, false);
    CHECK(activation_of(graph.made.nodes[0]) == "hardtanh");
    CHECK(std::get<double>(std::get<item_list>(*find(graph.made.nodes[0], "limits")).items[1]) == 6.0);
  }
  SUBCASE("leaky relu") {
    graph.unary("leaky_relu", graph.convolution(graph.x));
    graph.made.nodes.back().inputs.push_back({"negative_slope", 0.25});
    fuse_convolutions(graph.made, false);
    CHECK(std::get<double>(std::get<item_list>(*find(graph.made.nodes[0], "limits")).items[0]) == 0.25);
  }
  SUBCASE("gelu's approximation is left alone") {
    graph.unary("gelu", graph.convolution(graph.x));
    graph.made.nodes.back().inputs.push_back({"approximate", std::string("tanh")});
    fuse_convolutions(graph.made, false);
    CHECK(graph.targets() == targets{"shoal.convolution.default", "aten.gelu.default"});
  }
}

TEST_CASE("a residual goes into the convolution, with the relu after it") {
  network graph;
  const auto first = graph.unary("relu", graph.convolution(graph.x));
  const auto second = graph.convolution(first);
  value_id result = 0;
  SUBCASE("on the left") { result = graph.unary("relu", graph.sum(second, graph.x)); }
  SUBCASE("on the right") { result = graph.unary("relu", graph.sum(graph.x, second)); }
  graph.output(result);
  fuse_convolutions(graph.made, false);
  CHECK(graph.targets() == targets{"shoal.convolution.default", "shoal.convolution_add.default"});
  const auto& fused = graph.made.nodes[1];
  CHECK(activation_of(fused) == "relu");
  CHECK(std::get<reference>(*find(fused, "input")).id == first);
  CHECK(std::get<reference>(*find(fused, "other")).id == graph.x);
  CHECK(find(fused, "limits") == nullptr);
  CHECK(fused.outputs[0].values[0] == result);
}

TEST_CASE("of two summed convolutions the later takes the sum of the earlier, after both inputs are there") {
  network graph;
  const auto earlier = graph.convolution(graph.x);
  const auto later = graph.convolution(graph.x);
  const auto between = graph.unary("neg", graph.x);
  graph.output(graph.sum(graph.sum(later, earlier), between));
  fuse_convolutions(graph.made, false);
  CHECK(graph.targets() ==
        targets{"shoal.convolution.default", "aten.neg.default", "shoal.convolution_add.default", "aten.add.Tensor"});
  CHECK(std::get<reference>(*find(graph.made.nodes[2], "other")).id == earlier);
}

TEST_CASE("what cannot go into a convolution stays beside it") {
  network graph;
  targets expected;
  SUBCASE("its result is read twice") {
    const auto convolved = graph.convolution(graph.x);
    graph.output(graph.unary("relu", convolved));
    graph.output(graph.sum(convolved, graph.x));
    expected = {"shoal.convolution.default", "aten.relu.default", "aten.add.Tensor"};
  }
  SUBCASE("its result is an output") {
    const auto convolved = graph.convolution(graph.x);
    graph.output(convolved);
    graph.output(graph.unary("relu", convolved));
    expected = {"shoal.convolution.default", "aten.relu.default"};
  }
  SUBCASE("it is added to itself") {
    const auto convolved = graph.convolution(graph.x);
    graph.output(graph.sum(convolved, convolved));
    expected = {"shoal.convolution.default", "aten.add.Tensor"};
  }
  SUBCASE("the sum is of other shapes") {
    graph.output(graph.sum(graph.convolution(graph.x), graph.input({2, 4, 1, 1})));
    expected = {"shoal.convolution.default", "aten.add.Tensor"};
  }
  SUBCASE("the sum is weighted") {
    graph.sum(graph.convolution(graph.x), graph.x);
    graph.made.nodes.back().inputs.push_back({"alpha", std::int64_t{2}});
    expected = {"shoal.convolution.default", "aten.add.Tensor"};
  }
  SUBCASE("an activation came first") {
    graph.output(graph.sum(graph.unary("relu", graph.convolution(graph.x)), graph.x));
    expected = {"shoal.convolution.default", "aten.add.Tensor"};
  }
  SUBCASE("only relu may follow a sum") {
    graph.output(graph.unary("silu", graph.sum(graph.convolution(graph.x), graph.x)));
    expected = {"shoal.convolution_add.default", "aten.silu.default"};
  }
  fuse_convolutions(graph.made, false);
  CHECK(graph.targets() == expected);
}

TEST_CASE("a view of what a fused convolution gave becomes a reshape") {
  network graph;
  const auto convolved = graph.convolution(graph.x);
  graph.node("view.default", {{"self", reference{convolved}}, {"size", item_list{{std::int64_t{2}, std::int64_t{-1}}}}},
             {2, 144});
  fuse_convolutions(graph.made, false);
  CHECK(graph.targets().back() == "aten.reshape.default");
  CHECK(graph.made.nodes.back().inputs[1].name == "shape");
}

TEST_CASE("graphs are left alone that write in place or ask for strides, and convolutions without constants in fp32") {
  network graph;
  SUBCASE("a write remains") {
    graph.output(graph.convolution(graph.x));
    graph.output(graph.unary("relu_", graph.x));
  }
  SUBCASE("strides are read") {
    graph.output(graph.convolution(graph.x));
    graph.node("sym_stride.int", {{"self", reference{graph.x}}, {"dim", std::int64_t{0}}}, {});
  }
  SUBCASE("the weight is an input") { graph.output(graph.convolution(graph.x, graph.input({4, 4, 3, 3}))); }
  SUBCASE("double precision") {
    graph.output(graph.convolution(graph.x, graph.weight({4, 4, 3, 3}, network::fp64), {}, network::fp64));
  }
  SUBCASE("a padding by name") {
    graph.convolution(graph.x);
    graph.made.nodes.back().inputs.back().value = std::string("same");
  }
  SUBCASE("transposed") {
    graph.convolution(graph.x);
    graph.made.nodes.back().target = "torch.ops.aten.conv_transpose2d.input";
  }
  const auto before = graph.targets();
  fuse_convolutions(graph.made, true);
  CHECK(graph.targets() == before);
}
