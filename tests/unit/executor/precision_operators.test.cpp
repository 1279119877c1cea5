// The operators for narrow numbers as a graph calls them, boxed, against ATen's in fp32: above all inputs of unlike
// layouts and shapes. What the kernels compute is tested beside them (kernels_int8, kernels_bf16).
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/add.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include "executor/precision_operators.hpp"

namespace {

using at::Tensor;
using c10::IValue;

std::vector<IValue> call_all(const char* name, std::vector<IValue> arguments) {
  shoal::executor::register_precision_operators();
  const auto operation = c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  operation.callBoxed(arguments);
  return arguments;
}

Tensor call(const char* name, std::vector<IValue> arguments) {
  return call_all(name, std::move(arguments)).at(0).toTensor();
}

IValue no_steps() { return std::vector<std::int64_t>{}; }

/// |given - wanted| / |wanted|, as root mean squares.
double error(const Tensor& given, const Tensor& wanted) {
  REQUIRE((given.sizes() == wanted.sizes()));
  REQUIRE((given.scalar_type() == at::kFloat));
  const auto a = given.contiguous();
  const auto b = wanted.contiguous();
  double difference = 0;
  double size = 1e-30;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.const_data_ptr<float>()[i];
    const double y = b.const_data_ptr<float>()[i];
    difference += (x - y) * (x - y);
    size += y * y;
  }
  return std::sqrt(difference / size);
}

struct layer {
  Tensor weight = at::randn({20, 48});
  Tensor bias = at::randn({20});
  Tensor int8 = call("shoal::pack_linear_int8", {weight, no_steps(), false});
  Tensor bf16 = call("shoal::pack_linear_bf16", {weight});
  Tensor fp16 = call("shoal::pack_linear_fp16", {weight});

  [[nodiscard]] Tensor run_int8(const Tensor& x, const char* activation = "none", IValue residual = {}) const {
    const auto rows = call("shoal::quantise_rows", {x, IValue()});
    return call("shoal::linear_int8", {rows, int8, 48, bias, 20, std::string(activation), std::move(residual)});
  }
  [[nodiscard]] Tensor run(const char* name, const Tensor& packed, const Tensor& x, const char* activation = "none",
                           IValue residual = {}) const {
    return call(name, {x, packed, bias, 20, std::string(activation), std::move(residual)});
  }
};

}  // namespace

TEST_CASE("narrow linears take inputs of any rank and layout") {
  const c10::InferenceMode inference;
  const layer of;
  for (const auto& x : {at::randn({48}), at::randn({3, 48}), at::randn({2, 3, 48}), at::randn({48, 5}).t(),
                        at::randn({4, 96}).slice(1, 0, 48), at::randn({0, 48}), at::randn({2, 2, 2, 48})}) {
    const auto wanted = at::gelu(at::linear(x, of.weight, of.bias));
    CHECK(error(of.run_int8(x, "gelu"), wanted) < 0.03);
    CHECK(error(of.run("shoal::linear_int8_weight", of.int8, x, "gelu"), wanted) < 0.02);
    CHECK(error(of.run("shoal::linear_bf16", of.bf16, x, "gelu"), wanted) < 0.01);
    CHECK(error(of.run("shoal::linear_fp16", of.fp16, x, "gelu"), wanted) < 0.003);
  }
}

TEST_CASE("a residual of another shape is added as ATen adds it") {
  const c10::InferenceMode inference;
  const layer of;
  const auto x = at::randn({6, 48});
  for (const auto& residual : {at::randn({6, 20}), at::randn({20}), at::randn({6, 1})}) {
    const auto wanted = at::add(at::linear(x, of.weight, of.bias), residual);
    CHECK(error(of.run_int8(x, "none", residual), wanted) < 0.03);
    CHECK(error(of.run("shoal::linear_bf16", of.bf16, x, "none", residual), wanted) < 0.01);
    const auto rows = call("shoal::quantise_rows", {x, IValue()});
    const auto again =
        call("shoal::linear_int8_rows", {rows, of.int8, 48, of.bias, 20, std::string("none"), residual, IValue()});
    CHECK(at::equal(again, call("shoal::quantise_rows", {of.run_int8(x, "none", residual), IValue()})));
  }
}

TEST_CASE("smoothing of rows and weights cancels out") {
  const c10::InferenceMode inference;
  const layer of;
  std::vector<std::int64_t> steps;
  for (std::int64_t k = 0; k < 48; ++k) steps.push_back(k % 13 - 6);
  const auto factors = call("shoal::smoothing_factors", {steps});
  CHECK(factors.const_data_ptr<float>()[0] == doctest::Approx(std::exp2(1.5)));
  const auto packed = call("shoal::pack_linear_int8", {of.weight, steps, true});
  const auto x = at::randn({9, 48});
  const auto rows = call("shoal::quantise_rows", {x, factors});
  const auto y = call("shoal::linear_int8", {rows, packed, 48, of.bias, 20, std::string("none"), IValue()});
  CHECK(error(y, at::linear(x, of.weight, of.bias)) < 0.05);
}

TEST_CASE("a layer norm gives its rows, too, whether its kernel takes them or not") {
  const c10::InferenceMode inference;
  const auto weight = at::randn({48});
  for (const auto& x : {at::randn({5, 48}), at::randn({48, 5}).t()})
    for (const auto& residual : {IValue(), IValue(at::randn({5, 48})), IValue(at::randn({48}))}) {
      auto sum = residual.isNone() ? x : at::add(x, residual.toTensor());
      const auto both = call_all("shoal::add_layer_norm_rows",
                                 {x, residual, std::vector<std::int64_t>{48}, weight, IValue(), 1e-5, IValue()});
      REQUIRE(both.size() == 2);
      const auto y = both[0].toTensor();
      CHECK(error(y, at::layer_norm(sum, {48}, weight, {}, 1e-5)) < 1e-5);
      CHECK(at::equal(both[1].toTensor(), call("shoal::quantise_rows", {y, IValue()})));
    }
}

TEST_CASE("operators for narrow numbers refuse what does not fit together") {
  const c10::InferenceMode inference;
  const layer of;
  const auto x = at::randn({3, 48});
  const auto rows = call("shoal::quantise_rows", {x, IValue()});
  const std::string none = "none";
  CHECK_THROWS(call("shoal::linear_int8", {rows, of.int8, 44, of.bias, 20, none, IValue()}));
  CHECK_THROWS(call("shoal::linear_int8", {rows, of.int8, 48, of.bias, 90, none, IValue()}));
  CHECK_THROWS(call("shoal::linear_int8", {x, of.int8, 48, of.bias, 20, none, IValue()}));
  CHECK_THROWS(call("shoal::linear_int8", {rows, of.int8, 48, of.bias, 20, std::string("tanh"), IValue()}));
  CHECK_THROWS(call("shoal::linear_int8", {rows, of.int8, 48, at::randn({7}), 20, none, IValue()}));
  CHECK_THROWS(call("shoal::linear_bf16", {x, of.int8, of.bias, 20, none, IValue()}));
  CHECK_THROWS(call("shoal::linear_bf16", {at::randn({3, 50}), of.bf16, of.bias, 20, none, IValue()}));
  CHECK_THROWS(call("shoal::linear_int8_weight", {at::randn({3, 64}), of.int8, of.bias, 20, none, IValue()}));
  CHECK_THROWS(call("shoal::quantise_rows", {x, at::randn({47})}));
  CHECK_THROWS(call("shoal::pack_linear_int8", {of.weight, std::vector<std::int64_t>{1}, false}));
  CHECK_THROWS(call("shoal::pack_linear_int8", {of.bias, no_steps(), false}));
}
