// Graphs that passes fused, run, against the same graphs as they were.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include "executor/fused_operators.hpp"
#include "executor/passes.hpp"
#include "executor/program.hpp"
#include "unit/executor/small_graph.hpp"

namespace {

using namespace shoal::executor;
using shoal::test::batch;
using shoal::test::small_graph;

constexpr std::int64_t width = 64;

/// Nodes over [batch, 10, 64], and random weights for them.
struct block : small_graph {
  std::vector<at::Tensor> weights;

  value_id linear(value_id x) {
    weights.push_back(at::mul(at::randn({width, width}), 1 / std::sqrt(static_cast<double>(width))));
    weights.push_back(at::randn({width}));
    const auto w = weight({width, width});
    const auto b = weight({width});
    return rows("linear.default", {{"input", reference{x}}, {"weight", reference{w}}, {"bias", reference{b}}});
  }

  value_id norm(value_id x) {
    weights.push_back(at::randn({width}));
    const auto w = weight({width});
    return rows("layer_norm.default", {{"input", reference{x}},
                                       {"normalized_shape", item_list{{width}}},
                                       {"weight", reference{w}},
                                       {"bias", argument()},
                                       {"eps", 1e-6}});
  }

  value_id rows(const std::string& operation, std::vector<named_argument> inputs) {
    return node(operation, std::move(inputs), {batch, 10, width});
  }

  value_id add(value_id a, value_id b) {
    return rows("add.Tensor", {{"self", reference{a}}, {"other", reference{b}}, {"alpha", std::int64_t{1}}});
  }

  value_id heads(value_id x) {
    const auto split = node(
        "unflatten.int",
        {{"self", reference{x}}, {"dim", std::int64_t{-1}}, {"sizes", item_list{{std::int64_t{4}, std::int64_t{16}}}}},
        {batch, 10, 4, 16});
    return node("transpose.int", {{"self", reference{split}}, {"dim0", std::int64_t{1}}, {"dim1", std::int64_t{2}}},
                {batch, 4, 10, 16});
  }

  value_id attention(value_id x, std::vector<named_argument> more) {
    std::vector<named_argument> inputs{{"query", reference{heads(linear(x))}},
                                       {"key", reference{heads(linear(x))}},
                                       {"value", reference{heads(linear(x))}},
                                       {"dropout_p", 0.0}};
    inputs.insert(inputs.end(), more.begin(), more.end());
    const auto mixed = node("scaled_dot_product_attention.default", inputs, {batch, 4, 10, 16});
    const auto back =
        node("transpose.int", {{"self", reference{mixed}}, {"dim0", std::int64_t{1}}, {"dim1", std::int64_t{2}}},
             {batch, 10, 4, 16});
    return rows("flatten.using_ints", {{"self", reference{back}}, {"start_dim", std::int64_t{2}}});
  }
};

at::Tensor run(const graph& from, const std::vector<at::Tensor>& weights, const at::Tensor& x) {
  auto built = program::build(from, weights, true);
  REQUIRE_MESSAGE(built.has_value(), (built ? "" : built.error().message));
  const auto results = built->run({x});
  REQUIRE_MESSAGE(results.has_value(), (results ? "" : results.error().message));
  return results->at(0).contiguous();
}

void check(block& of, value_id y, const std::string& wanted_operators) {
  of.output(y);
  const auto x = at::randn({3, 10, width});
  const auto plain = run(of.made(), of.weights, x);
  register_fused_operators();
  fuse_layer_norm(of.made());
  fuse_attention(of.made());
  pack_linear(of.made());
  fuse_activation(of.made());
  CHECK(of.operators().ends_with(wanted_operators));
  CHECK(of.operators().find("aten.linear") == std::string::npos);
  const auto fused = run(of.made(), of.weights, x);
  REQUIRE(fused.numel() == plain.numel());
  double error = 0;
  double largest = 0;
  for (std::int64_t i = 0; i < plain.numel(); ++i) {
    error = std::max<double>(error, std::abs(fused.const_data_ptr<float>()[i] - plain.const_data_ptr<float>()[i]));
    largest = std::max<double>(largest, std::abs(plain.const_data_ptr<float>()[i]));
  }
  CHECK(error <= 1e-5 * largest);
}

}  // namespace

TEST_CASE("a fused block of a transformer runs and gives what the plain one gives") {
  const c10::InferenceMode inference;
  block of;
  const auto x = of.input({batch, 10, width});
  const auto feed_forward = [&](value_id from, const std::string& activation, std::vector<named_argument> more) {
    more.insert(more.begin(), {"self", reference{of.linear(from)}});
    return of.linear(of.rows(activation, more));
  };
  constexpr auto linears = "shoal.packed_linear.default shoal.packed_linear.default";
  SUBCASE("normed before, as in GPT; tanh form of gelu") {
    check(of, of.add(x, feed_forward(of.norm(x), "gelu.default", {{"approximate", std::string("tanh")}})),
          std::string("shoal.add_layer_norm.default ") + linears);
  }
  SUBCASE("normed after, as in BERT; gelu") {
    check(of, of.norm(of.add(feed_forward(x, "gelu.default", {{"approximate", std::string("none")}}), x)),
          std::string(linears) + " shoal.add_layer_norm.default");
  }
  SUBCASE("silu") { check(of, feed_forward(x, "silu.default", {}), linears); }
  SUBCASE("relu") { check(of, feed_forward(x, "relu.default", {}), linears); }
  constexpr auto attended = "shoal.attention.default aten.transpose.int aten.flatten.using_ints";
  SUBCASE("attention") { check(of, of.attention(x, {}), attended); }
  SUBCASE("causal attention with a scale") {
    check(of, of.attention(x, {{"attn_mask", argument()}, {"is_causal", true}, {"scale", 0.3}}), attended);
  }
}
