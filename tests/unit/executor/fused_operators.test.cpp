// The operators as a graph calls them, boxed, against what ATen's give: above all where they must fall back.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/add.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/core/InferenceMode.h>

#include "executor/fused_operators.hpp"

namespace {

using at::Tensor;
using c10::IValue;

Tensor call(const char* name, std::vector<IValue> arguments) {
  shoal::executor::register_fused_operators();
  const auto operation = c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  const auto& takes = operation.schema().arguments();
  for (auto i = arguments.size(); i < takes.size(); ++i)
    arguments.push_back(takes[i].default_value().value_or(IValue()));
  operation.callBoxed(arguments);
  return arguments.at(0).toTensor();
}

Tensor packed_linear(const Tensor& x, const Tensor& weight, IValue bias, const char* activation = "none",
                     IValue residual = {}) {
  const auto packed = call("shoal::pack_linear", {weight});
  return call("shoal::packed_linear",
              {x, packed, std::move(bias), weight.size(0), std::string(activation), std::move(residual)});
}

void check_close(const Tensor& given, const Tensor& wanted) {
  REQUIRE((given.sizes() == wanted.sizes()));
  REQUIRE((given.scalar_type() == wanted.scalar_type()));
  const auto a = given.to(at::kDouble).contiguous();
  const auto b = wanted.to(at::kDouble).contiguous();
  double error = 0;
  double largest = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    error = std::max(error, std::abs(a.const_data_ptr<double>()[i] - b.const_data_ptr<double>()[i]));
    largest = std::max(largest, std::abs(b.const_data_ptr<double>()[i]));
  }
  CHECK(error <= 1e-5 * largest);
}

}  // namespace

TEST_CASE("the packed linear takes inputs of any rank and layout, and weights that lie across") {
  const c10::InferenceMode inference;
  const auto weight = at::randn({7, 24});
  const auto bias = at::randn({7});
  for (const auto& x :
       {at::randn({24}), at::randn({5, 24}), at::randn({2, 3, 24}), at::randn({24, 5}).t(),
        at::randn({5, 40}).slice(1, 8, 32), at::randn({3, 2, 24}).transpose(0, 1), at::randn({0, 24})}) {
    if (x.numel() > 0) check_close(packed_linear(x, weight, bias), at::linear(x, weight, bias));
    CHECK((packed_linear(x, weight, IValue()).sizes() == at::linear(x, weight).sizes()));
  }
  const auto across = at::randn({24, 7}).t();
  const auto x = at::randn({4, 24});
  check_close(packed_linear(x, across, bias), at::linear(x, across, bias));
  check_close(packed_linear(x, weight, bias, "gelu"), at::gelu(at::linear(x, weight, bias)));
}

TEST_CASE("a residual of another shape or layout is added as ATen adds it") {
  const c10::InferenceMode inference;
  const auto weight = at::randn({7, 24});
  const auto x = at::randn({4, 24});
  for (const auto& residual : {at::randn({4, 7}), at::randn({7, 4}).t(), at::randn({7}), at::randn({3, 1, 7})})
    check_close(packed_linear(x, weight, IValue(), "none", residual), at::add(at::linear(x, weight), residual));
}

TEST_CASE("what the packed linear does not take is refused with a sentence") {
  const c10::InferenceMode inference;
  const auto weight = at::randn({7, 24});
  const auto says = [](const auto& work, const char* what) {
    try {
      work();
    } catch (const c10::Error& wrong) {
      return std::string(wrong.what_without_backtrace()).find(what) != std::string::npos;
    }
    return false;
  };
  const auto x = at::randn({4, 24});
  CHECK(says([&] { packed_linear(at::randn({4, 23}), weight, IValue()); }, "last size is 23"));
  CHECK(says([&] { packed_linear(x, weight, at::randn({8})); }, "bias of 7"));
  CHECK(says([&] { packed_linear(x, weight, IValue(), "sine"); }, "sine"));
  CHECK_THROWS(packed_linear(at::randn({4, 24}).to(at::kDouble), weight, IValue()));
  CHECK_THROWS(call("shoal::pack_linear", {weight.to(at::kDouble)}));
}

TEST_CASE("add + layer norm is ATen's for any type, rank and broadcast") {
  const c10::InferenceMode inference;
  const auto weight = at::randn({4, 6});
  const auto check = [&](const Tensor& x, const IValue& residual, std::vector<std::int64_t> shape, const IValue& by) {
    const auto sum = residual.isTensor() ? at::add(x, residual.toTensor()) : x;
    check_close(call("shoal::add_layer_norm", {x, residual, shape, by, IValue(), 1e-5}),
                at::layer_norm(sum, shape, by.toOptional<Tensor>(), {}, 1e-5));
  };
  const auto x = at::randn({3, 4, 6});
  check(x, IValue(), {4, 6}, weight);
  check(x, at::randn_like(x), {4, 6}, weight);
  check(x, at::randn({6, 4, 3}).permute({2, 1, 0}), {6}, IValue());
  check(x, at::randn({6}), {6}, IValue());
  check(x, at::randn({2, 3, 4, 6}), {6}, IValue());
  check(x.to(at::kDouble), IValue(), {6}, IValue());
  CHECK_THROWS(call("shoal::add_layer_norm", {x, IValue(), std::vector<std::int64_t>{5}, IValue(), IValue(), 1e-5}));
}

TEST_CASE("attention is ATen's for layouts, masks and sizes the kernel takes and those it does not") {
  const c10::InferenceMode inference;
  const auto check = [](const Tensor& q, const Tensor& k, const Tensor& v, const IValue& mask, bool causal = false,
                        std::optional<double> scale = std::nullopt) {
    check_close(call("shoal::attention", {q, k, v, mask, causal, scale, std::string("fp32")}),
                at::scaled_dot_product_attention(q, k, v, mask.toOptional<Tensor>(), 0.0, causal, scale));
  };
  const auto lying = [](std::int64_t tokens, std::int64_t depth) {
    return at::randn({2, tokens, 3, depth}).transpose(1, 2);
  };
  const auto q = lying(9, 32);
  const auto k = lying(13, 32);
  const auto v = lying(13, 32);
  check(q, k, v, IValue());
  check(q, k, v, IValue(), true);
  check(q, k, v, IValue(), false, 0.3);
  for (const auto& mask : {at::randn({2, 1, 1, 13}), at::randn({9, 13}), at::randn({3, 9, 1}), at::randn({13, 9}).t(),
                           at::randn({2, 3, 9, 13})})
    check(q, k, v, mask);
  check(q, k, v, at::gt(at::randn({9, 13}), 0));
  check(lying(9, 20), lying(13, 20), lying(13, 20), IValue());
  check(q, k, lying(13, 48), IValue());
  check(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), IValue());
  check(at::randn({2, 3, 32, 9}).transpose(2, 3), k, v, IValue());
  check(at::randn({3, 9, 32}), at::randn({3, 13, 32}), at::randn({3, 13, 32}), IValue());
}

TEST_CASE(
    "attention over keys and values in two places is ATen's over both joined, whether the kernel takes it or not") {
  const c10::InferenceMode inference;
  const auto check = [](const Tensor& q, const Tensor& k, const Tensor& added_k, const IValue& mask,
                        bool causal = false, const std::string& numbers = "fp32") {
    const auto v = at::randn_like(k);
    const auto added_v = at::randn_like(added_k);
    check_close(call("shoal::attention", {q, k, v, mask, causal, IValue(), numbers, added_k, added_v}),
                at::scaled_dot_product_attention(q, at::cat({k, added_k}, 2), at::cat({v, added_v}, 2),
                                                 mask.toOptional<Tensor>(), 0.0, causal));
  };
  const auto lying = [](std::int64_t tokens, std::int64_t depth) {
    return at::randn({2, tokens, 3, depth}).transpose(1, 2);
  };
  check(lying(1, 32), lying(13, 32), lying(1, 32), IValue());
  check(lying(1, 32), lying(13, 32), lying(4, 32), at::randn({1, 17}));
  check(lying(1, 32), lying(13, 32), lying(1, 32), at::randn({2, 3, 1, 14}));
  check(lying(5, 32), lying(13, 32), lying(2, 32), IValue());
  check(lying(1, 32), lying(13, 32), lying(1, 32), IValue(), true);
  check(lying(1, 20), lying(13, 20), lying(1, 20), IValue());
  check(lying(1, 32), at::randn({2, 3, 32, 13}).transpose(2, 3), lying(1, 32), IValue());
  CHECK_THROWS(call("shoal::attention",
                    {lying(1, 32), lying(13, 32), lying(13, 32), IValue(), false, IValue(), "fp32", lying(1, 32)}));
}
