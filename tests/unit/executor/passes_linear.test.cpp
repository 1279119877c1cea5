#include <doctest/doctest.h>

#include "executor/graph_uses.hpp"
#include "executor/passes.hpp"
#include "unit/executor/small_graph.hpp"

namespace {

using namespace shoal::executor;
using shoal::test::batch;
using shoal::test::small_graph;

struct one_linear : small_graph {
  value_id x = input({batch, 8});
  value_id w = weight({12, 8});
  value_id b = weight({12});
  value_id y =
      node("linear.default", {{"input", reference{x}}, {"weight", reference{w}}, {"bias", reference{b}}}, {batch, 12});
};

std::string text(const graph& in, std::size_t node, std::string_view name) {
  const auto* found = find_argument(in.nodes.at(node), name);
  const auto* value = found == nullptr ? nullptr : std::get_if<std::string>(found);
  return value == nullptr ? "" : *value;
}

constexpr auto packed = "shoal.pack_linear.default shoal.packed_linear.default";

}  // namespace

TEST_CASE("a linear over a stored weight becomes packing and a packed linear") {
  one_linear g;
  g.output(g.y);
  pack_linear(g.made());
  CHECK(g.operators() == packed);
  const auto& linear = g.made().nodes[1];
  CHECK(value_of(linear, "x") == g.x);
  CHECK(value_of(linear, "packed") == single_output(g.made().nodes[0]));
  CHECK(value_of(linear, "bias") == g.b);
  CHECK(std::get<std::int64_t>(*find_argument(linear, "out_features")) == 12);
  CHECK(single_output(linear) == g.y);
  CHECK(linear.name == "node0");  // errors still name the exported node
}

TEST_CASE("linears that share a weight share its packed form") {
  one_linear g;
  g.output(g.y);
  g.output(g.node("linear.default", {{"input", reference{g.x}}, {"weight", reference{g.w}}}, {batch, 12}));
  pack_linear(g.made());
  CHECK(g.operators() == "shoal.pack_linear.default shoal.packed_linear.default shoal.packed_linear.default");
}

TEST_CASE("a linear stays when its weight is read by something else, computed, or an output") {
  SUBCASE("tied to an embedding") {
    one_linear g;
    g.output(g.y);
    g.output(g.node("embedding.default", {{"weight", reference{g.w}}, {"indices", reference{g.x}}}, {batch, 8}));
    pack_linear(g.made());
    CHECK(g.operators() == "aten.linear.default aten.embedding.default");
  }
  SUBCASE("an output") {
    one_linear g;
    g.output(g.y);
    g.output(g.w);
    pack_linear(g.made());
    CHECK(g.operators() == "aten.linear.default");
  }
  SUBCASE("computed") {
    small_graph g;
    const auto x = g.input({batch, 8});
    const auto w = g.input({12, 8});
    g.output(g.node("linear.default", {{"input", reference{x}}, {"weight", reference{w}}}, {batch, 12}));
    pack_linear(g.made());
    CHECK(g.operators() == "aten.linear.default");
  }
}

TEST_CASE("a linear stays when a type or a size is not what the kernel takes") {
  small_graph g;
  SUBCASE("double precision") {
    const auto x = g.input({batch, 8}, small_graph::fp64);
    const auto w = g.weight({12, 8}, small_graph::fp64);
    g.output(
        g.node("linear.default", {{"input", reference{x}}, {"weight", reference{w}}}, {batch, 12}, small_graph::fp64));
  }
  SUBCASE("so few outputs that a panel would be mostly padding") {
    const auto x = g.input({batch, 8});
    const auto w = g.weight({7, 8});
    g.output(g.node("linear.default", {{"input", reference{x}}, {"weight", reference{w}}}, {batch, 7}));
  }
  SUBCASE("a weight of one dimension") {
    const auto x = g.input({batch, 8});
    const auto w = g.weight({8});
    g.output(g.node("linear.default", {{"input", reference{x}}, {"weight", reference{w}}}, {batch}));
  }
  SUBCASE("an input of another width, which the operator will refuse") {
    const auto x = g.input({batch, 7});
    const auto w = g.weight({12, 8});
    g.output(g.node("linear.default", {{"input", reference{x}}, {"weight", reference{w}}}, {batch, 12}));
  }
  SUBCASE("a bias that is broadcast") {
    const auto x = g.input({batch, 8});
    const auto w = g.weight({12, 8});
    const auto b = g.weight({1});
    g.output(g.node("linear.default", {{"input", reference{x}}, {"weight", reference{w}}, {"bias", reference{b}}},
                    {batch, 12}));
  }
  pack_linear(g.made());
  CHECK(g.operators() == "aten.linear.default");
}

TEST_CASE("nothing is packed or fused in a graph that writes in place") {
  one_linear g;
  const auto y = g.node("relu.default", {{"self", reference{g.y}}}, {batch, 12});
  g.output(g.node("add_.Tensor", {{"self", reference{y}}, {"other", std::int64_t{1}}}, {batch, 12}));
  pack_linear(g.made());
  fuse_activation(g.made());
  CHECK(g.operators() == "aten.linear.default aten.relu.default aten.add_.Tensor");
}

TEST_CASE("the activation after a packed linear happens in it") {
  const auto fused = [](const std::string& operation, std::vector<named_argument> more) {
    one_linear g;
    more.insert(more.begin(), {"self", reference{g.y}});
    const auto z = g.node(operation, more, {batch, 12});
    g.output(z);
    pack_linear(g.made());
    fuse_activation(g.made());
    if (g.operators() != packed) return g.operators();
    CHECK(single_output(g.made().nodes[1]) == z);
    return text(g.made(), 1, "activation");
  };
  CHECK(fused("relu.default", {}) == "relu");
  CHECK(fused("silu.default", {}) == "silu");
  CHECK(fused("gelu.default", {}) == "gelu");
  CHECK(fused("gelu.default", {{"approximate", std::string("none")}}) == "gelu");
  CHECK(fused("gelu.default", {{"approximate", std::string("tanh")}}) == "gelu_tanh");
  CHECK(fused("tanh.default", {}) == std::string(packed) + " aten.tanh.default");
  CHECK(fused("gelu.default", {{"approximate", std::string("other")}}) == std::string(packed) + " aten.gelu.default");
}

TEST_CASE("an activation stays when something else reads what it reads") {
  one_linear g;
  const auto z = g.node("relu.default", {{"self", reference{g.y}}}, {batch, 12});
  g.output(z);
  SUBCASE("an output") { g.output(g.y); }
  SUBCASE("a node") { g.output(g.node("neg.default", {{"self", reference{g.y}}}, {batch, 12})); }
  pack_linear(g.made());
  fuse_activation(g.made());
  CHECK(g.operators().find("aten.relu.default") != std::string::npos);
  CHECK(text(g.made(), 1, "activation") == "none");
}

TEST_CASE("an activation without a packed linear before it stays") {
  one_linear g;
  g.output(g.node("relu.default", {{"self", reference{g.y}}}, {batch, 12}));
  fuse_activation(g.made());
  CHECK(g.operators() == "aten.linear.default aten.relu.default");
}

TEST_CASE("an addition after a packed linear happens in it, whichever side the linear is on") {
  one_linear g;
  // Made after the linear: the fused node must come behind it.
  const auto other = g.node("neg.default", {{"self", reference{g.input({batch, 12})}}}, {batch, 12});
  std::vector<named_argument> inputs;
  SUBCASE("left") { inputs = {{"self", reference{g.y}}, {"other", reference{other}}}; }
  SUBCASE("right") { inputs = {{"self", reference{other}}, {"other", reference{g.y}}}; }
  SUBCASE("alpha 1") { inputs = {{"self", reference{other}}, {"other", reference{g.y}}, {"alpha", std::int64_t{1}}}; }
  const auto z = g.node("add.Tensor", inputs, {batch, 12});
  g.output(z);
  pack_linear(g.made());
  fuse_activation(g.made());
  REQUIRE(g.operators() == "shoal.pack_linear.default aten.neg.default shoal.packed_linear.default");
  CHECK(value_of(g.made().nodes[2], "residual") == other);
  CHECK(single_output(g.made().nodes[2]) == z);
}

TEST_CASE("activation, then addition: both go in; addition, then activation: only the addition does") {
  one_linear g;
  const auto other = g.input({batch, 12});
  SUBCASE("activation first") {
    const auto a = g.node("gelu.default", {{"self", reference{g.y}}}, {batch, 12});
    g.output(g.node("add.Tensor", {{"self", reference{a}}, {"other", reference{other}}}, {batch, 12}));
    pack_linear(g.made());
    fuse_activation(g.made());
    CHECK(g.operators() == packed);
    CHECK(text(g.made(), 1, "activation") == "gelu");
    CHECK(value_of(g.made().nodes[1], "residual") == other);
  }
  SUBCASE("addition first") {
    const auto a = g.node("add.Tensor", {{"self", reference{g.y}}, {"other", reference{other}}}, {batch, 12});
    g.output(g.node("gelu.default", {{"self", reference{a}}}, {batch, 12}));
    pack_linear(g.made());
    fuse_activation(g.made());
    CHECK(g.operators() == std::string(packed) + " aten.gelu.default");
    CHECK(text(g.made(), 1, "activation") == "none");
  }
}

TEST_CASE("an addition stays when it scales, broadcasts, adds a number, or adds the linear to itself") {
  one_linear g;
  std::vector<named_argument> inputs{{"self", reference{g.y}}};
  SUBCASE("scales") {
    inputs.push_back({"other", reference{g.input({batch, 12})}});
    inputs.push_back({"alpha", std::int64_t{2}});
  }
  SUBCASE("broadcasts") { inputs.push_back({"other", reference{g.input({1, 12})}}); }
  SUBCASE("a number") { inputs.push_back({"other", 2.0}); }
  SUBCASE("itself") { inputs.push_back({"other", reference{g.y}}); }
  g.output(g.node("add.Tensor", inputs, {batch, 12}));
  pack_linear(g.made());
  fuse_activation(g.made());
  CHECK(g.operators() == std::string(packed) + " aten.add.Tensor");
}

TEST_CASE("of two packed linears that are added, one takes the other's result") {
  one_linear g;
  const auto w = g.weight({12, 8});
  const auto second = g.node("linear.default", {{"input", reference{g.x}}, {"weight", reference{w}}}, {batch, 12});
  g.output(g.node("add.Tensor", {{"self", reference{second}}, {"other", reference{g.y}}}, {batch, 12}));
  pack_linear(g.made());
  fuse_activation(g.made());
  CHECK(g.operators() ==
        "shoal.pack_linear.default shoal.pack_linear.default shoal.packed_linear.default shoal.packed_linear.default");
  CHECK(value_of(g.made().nodes[3], "residual") == g.y);
}
