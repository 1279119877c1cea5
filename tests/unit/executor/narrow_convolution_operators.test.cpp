// The operators for convolutions of narrow numbers as a graph calls them, boxed, against ATen's in fp32. What the
// kernels compute is tested beside them (kernels_convolution).
#include <doctest/doctest.h>

#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/add.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/hardswish.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <c10/core/InferenceMode.h>

#include "executor/own_operators.hpp"

namespace {

using at::Tensor;
using c10::IValue;
using integers = std::vector<std::int64_t>;
using reals = std::vector<double>;

std::vector<IValue> call_all(const std::string& name, std::vector<IValue> arguments) {
  shoal::executor::register_own_operators();
  c10::Dispatcher::singleton().findSchemaOrThrow(name.c_str(), "").callBoxed(arguments);
  return arguments;
}
Tensor call(const std::string& name, std::vector<IValue> arguments) {
  return call_all(name, std::move(arguments)).at(0).toTensor();
}

/// |given - wanted| / |wanted|, as root mean squares.
double error(const Tensor& given, const Tensor& wanted) {
  REQUIRE((given.sizes() == wanted.sizes()));
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
  Tensor weight = at::randn({10, 6, 3, 3});
  Tensor bias = at::randn({10});
  Tensor int8 = call("shoal::pack_convolution_int8", {weight, false});
  Tensor bf16 = call("shoal::pack_convolution_bf16", {weight});

  [[nodiscard]] std::vector<IValue> arguments(const Tensor& input, const Tensor& packed, const char* activation,
                                              IValue other) const {
    return {input,          packed,         bias,           std::move(other),        integers{10, 6, 3, 3},
            integers{2, 1}, integers{1, 1}, integers{1, 1}, std::string(activation), reals{}};
  }
  [[nodiscard]] Tensor plain(const Tensor& x) const { return at::conv2d(x, weight, bias, {2, 1}, {1, 1}); }
};

}  // namespace

TEST_CASE("narrow convolutions take images of any layout and size, and what is added to them") {
  const c10::InferenceMode inference;
  const layer of;
  for (const auto& x : {at::randn({2, 6, 9, 7}), at::randn({1, 6, 1, 1}), at::randn({3, 5, 4, 6}).permute({0, 3, 1, 2}),
                        at::randn({2, 12, 8, 8}).slice(1, 0, 6)}) {
    const auto images = call("shoal::quantise_images", {x, reals{-4, 4}});
    const auto own = call("shoal::quantise_images", {x, reals{}});
    const auto wanted = of.plain(x);
    CHECK(error(call("shoal::convolution_int8", of.arguments(images, of.int8, "none", {})), wanted) < 0.05);
    CHECK(error(call("shoal::convolution_int8", of.arguments(own, of.int8, "none", {})), wanted) < 0.05);
    CHECK(error(call("shoal::convolution_bf16", of.arguments(x, of.bf16, "none", {})), wanted) < 0.01);
    const auto other = at::randn(wanted.sizes());
    const auto kept = other.clone();
    const auto added = at::relu(at::add(wanted, other));
    CHECK(error(call("shoal::convolution_int8", of.arguments(images, of.int8, "relu", other)), added) < 0.05);
    CHECK(error(call("shoal::convolution_bf16", of.arguments(x, of.bf16, "relu", other)), added) < 0.01);
    CHECK(at::equal(other, kept));
    CHECK(error(call("shoal::convolution_int8", of.arguments(images, of.int8, "hardswish", {})),
                at::hardswish(wanted)) < 0.06);
  }
}

TEST_CASE("a result in bytes is the result, quantised") {
  const c10::InferenceMode inference;
  const layer of;
  const auto images = call("shoal::quantise_images", {at::randn({2, 6, 9, 7}), reals{-4, 4}});
  const auto wanted = call("shoal::convolution_int8", of.arguments(images, of.int8, "relu", {}));
  auto arguments = of.arguments(images, of.int8, "relu", {});
  arguments.emplace_back(reals{0, 20});
  const auto bytes = call("shoal::quantise_images", {wanted, reals{0, 20}});
  CHECK(at::equal(call("shoal::convolution_int8_images", arguments), bytes));
  const auto both = call_all("shoal::convolution_int8_both", arguments);
  CHECK(at::equal(both.at(0).toTensor(), wanted));
  CHECK(at::equal(both.at(1).toTensor(), bytes));
}

TEST_CASE("what does not fit a narrow convolution is an error, not a read beyond its memory") {
  const c10::InferenceMode inference;
  const layer of;
  const auto x = at::randn({2, 6, 9, 7});
  const auto images = call("shoal::quantise_images", {x, reals{-4, 4}});
  const auto fails = [&](const char* name, const std::vector<IValue>& arguments) {
    CHECK_THROWS(call(name, arguments));
  };
  fails("shoal::convolution_int8", of.arguments(x, of.int8, "none", {}));
  fails("shoal::convolution_int8", of.arguments(images, of.bf16, "none", {}));
  fails("shoal::convolution_int8", of.arguments(images.slice(3, 0, 4), of.int8, "none", {}));
  fails("shoal::convolution_int8", of.arguments(images.slice(1, 0, 1).contiguous(), of.int8, "none", {}));
  fails("shoal::convolution_int8", of.arguments(images, of.int8, "none", at::randn({2, 10, 5, 6})));
  fails("shoal::convolution_bf16", of.arguments(at::randn({2, 5, 9, 7}), of.bf16, "none", {}));
  fails("shoal::quantise_images", {at::randn({6, 9, 7}), reals{-4, 4}});
  fails("shoal::quantise_images", {x, reals{1}});
  auto gated = of.arguments(images, of.int8, "hardswish", {});
  gated.emplace_back(reals{0, 1});
  fails("shoal::convolution_int8_images", gated);
  auto narrow = of.arguments(images, of.int8, "none", {});
  narrow[4] = integers{10, 6, 30, 30};
  fails("shoal::convolution_int8", narrow);
}
