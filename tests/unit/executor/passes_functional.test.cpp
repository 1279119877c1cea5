#include <doctest/doctest.h>

#include "executor/passes.hpp"
#include "unit/executor/graph_builder.hpp"

namespace {

using namespace shoal;
using namespace shoal::executor;
using targets = std::vector<std::string>;

struct two_nodes : test::graph_builder {
  value_id x = input({2, 4});
  value_id own = node("add.Tensor", {{"self", reference{x}}, {"other", std::int64_t{1}}}, {2, 4});
};

value_id read_by(const node& reader) { return std::get<reference>(reader.inputs.front().value).id; }

}  // namespace

TEST_CASE("a write to what a node made becomes functional, and later readers read what was written") {
  two_nodes graph;
  const auto old_reader = graph.node("neg.default", {{"self", reference{graph.own}}}, {2, 4});
  graph.made.nodes.back().target = "torch.ops.aten.sigmoid.default";
  const auto written = graph.node("relu_.default", {{"self", reference{graph.own}}}, {2, 4});
  graph.node("tanh.default", {{"self", reference{graph.own}}}, {2, 4});
  const auto again =
      graph.node("add_.Tensor", {{"self", reference{graph.own}}, {"other", reference{old_reader}}}, {2, 4});
  graph.output(graph.own);
  graph.output(written);
  functionalise(graph.made);
  CHECK(graph.targets() == targets{"aten.add.Tensor", "aten.sigmoid.default", "aten.relu.default", "aten.tanh.default",
                                   "aten.add.Tensor"});
  CHECK(read_by(graph.made.nodes[1]) == graph.own);
  CHECK(read_by(graph.made.nodes[3]) == written);
  CHECK(read_by(graph.made.nodes[4]) == written);
  CHECK(graph.made.outputs[0].id == again);
  CHECK(graph.made.outputs[1].id == again);
}

TEST_CASE("a write stays where a view may show it, or the memory is a request's or a weight's") {
  two_nodes graph;
  SUBCASE("a view was taken before") {
    graph.node("slice.Tensor", {{"self", reference{graph.own}}, {"dim", std::int64_t{1}}}, {2, 4});
    graph.node("relu_.default", {{"self", reference{graph.own}}}, {2, 4});
  }
  SUBCASE("it writes to a view") {
    const auto view = graph.node("select.int", {{"self", reference{graph.own}}}, {4});
    graph.node("relu_.default", {{"self", reference{view}}}, {4});
  }
  SUBCASE("it writes to an input") { graph.node("relu_.default", {{"self", reference{graph.x}}}, {2, 4}); }
  SUBCASE("it writes to a weight") { graph.node("relu_.default", {{"self", reference{graph.weight({2, 4})}}}, {2, 4}); }
  SUBCASE("its functional form is not known") {
    graph.node("fill_.Scalar", {{"self", reference{graph.own}}, {"value", 0.5}}, {2, 4});
  }
  functionalise(graph.made);
  CHECK(graph.targets().back().find("_.") != std::string::npos);
}

TEST_CASE("a write stays where the functional form would give another type") {
  two_nodes graph;
  const auto wide = graph.input({2, 4}, test::graph_builder::fp64);
  graph.node("add_.Tensor", {{"self", reference{graph.own}}, {"other", reference{wide}}}, {2, 4});
  functionalise(graph.made);
  CHECK(graph.targets().back() == "aten.add_.Tensor");
}

TEST_CASE("dropout in evaluation writes nothing, whatever it is given") {
  two_nodes graph;
  graph.output(graph.node("dropout_.default", {{"self", reference{graph.x}}, {"p", 0.5}, {"train", false}}, {2, 4}));
  functionalise(graph.made);
  CHECK(graph.targets().back() == "aten.dropout.default");
  CHECK(graph.made.nodes.back().inputs.front().name == "input");
  drop_no_ops(graph.made);
  CHECK(graph.made.outputs[0].id == graph.x);
}
