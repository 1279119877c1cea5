#include "executor/precision_operators.hpp"

#include <cmath>
#include <tuple>

#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <torch/library.h>

#include "executor/compute_team.hpp"
#include "executor/kernels/bf16_linear.hpp"
#include "executor/kernels/int8_linear.hpp"
#include "executor/kernels/quantised_rows.hpp"
#include "executor/linear_arguments.hpp"
#include "executor/norm_arguments.hpp"

namespace shoal::executor {

namespace {

using at::Tensor;

std::vector<float> factors_of(c10::IntArrayRef steps) {
  std::vector<float> factors;
  for (const auto step : steps) factors.push_back(std::exp2(static_cast<float>(-step) / 4.0F));
  return factors;
}

Tensor smoothing_factors(c10::IntArrayRef steps) {
  const auto factors = factors_of(steps);
  auto made = at::empty({static_cast<std::int64_t>(factors.size())}, at::kFloat);
  std::copy(factors.begin(), factors.end(), made.mutable_data_ptr<float>());
  return made;
}

void check_weight(const Tensor& weight) {
  TORCH_CHECK(weight.dim() == 2 && is_fp32(weight), "only a matrix of fp32 can be packed");
}

Tensor pack_linear_int8(const Tensor& weight, c10::IntArrayRef smoothing, bool clip) {
  check_weight(weight);
  const auto bytes = kernels::packed_int8_bytes(weight.size(0), weight.size(1));
  TORCH_CHECK(bytes.has_value(), "the packed weight would be too large");
  TORCH_CHECK(smoothing.empty() || static_cast<std::int64_t>(smoothing.size()) == weight.size(1),
              "smoothing must have a step for each of ", weight.size(1), " channels");
  const auto factors = factors_of(smoothing);
  auto packed = at::empty({*bytes}, at::kByte);
  kernels::pack_int8_weight(weight.const_data_ptr<float>(), weight.size(0), weight.size(1), weight.stride(0),
                            weight.stride(1), factors.empty() ? nullptr : factors.data(), clip,
                            packed.mutable_data_ptr<std::uint8_t>());
  return packed;
}

Tensor pack_linear_bf16(const Tensor& weight) {
  check_weight(weight);
  const auto count = kernels::packed_bf16_elements(weight.size(0), weight.size(1));
  TORCH_CHECK(count.has_value(), "the packed weight would be too large");
  auto packed = at::empty({*count}, at::kBFloat16);
  kernels::pack_bf16_weight(weight.const_data_ptr<float>(), weight.size(0), weight.size(1), weight.stride(0),
                            weight.stride(1), static_cast<std::uint16_t*>(packed.mutable_data_ptr()));
  return packed;
}

/// Null: none. Throws if they are not one for each of `width` channels.
const float* factors_for(const optional_tensor& factors, std::int64_t width) {
  if (!factors || !factors->defined()) return nullptr;
  TORCH_CHECK(is_fp32(*factors) && factors->is_contiguous() && factors->dim() == 1 && factors->size(0) == width,
              "factors must be ", width, " fp32");
  return factors->const_data_ptr<float>();
}

Tensor empty_rows(std::vector<std::int64_t> sizes) {
  sizes.back() = kernels::quantised_row_bytes(sizes.back());
  return at::empty(sizes, at::kByte);
}

Tensor quantise_rows(const Tensor& x, const optional_tensor& factors) {
  TORCH_CHECK(x.dim() >= 1 && is_fp32(x), "only fp32 can be quantised");
  const dense_rows rows(x);
  auto made = empty_rows(x.sizes().vec());
  kernels::quantise_rows(
      {rows.data, rows.stride, factors_for(factors, rows.width), rows.width, made.mutable_data_ptr<std::uint8_t>()},
      rows.width == 0 ? 0 : x.numel() / rows.width, compute_team());
  return made;
}

void check_int8_weight(const Tensor& packed, std::int64_t columns, std::int64_t inner) {
  TORCH_CHECK(packed.scalar_type() == at::kByte && packed.is_contiguous() &&
                  kernels::packed_int8_bytes(columns, inner) == packed.numel(),
              "mat1 and mat2 shapes cannot be multiplied: the weight was packed for other sizes than ", columns, " x ",
              inner);
}

kernels::int8_linear_task int8_task(const Tensor& rows, const Tensor& packed, std::int64_t inner,
                                    std::int64_t columns) {
  check_int8_weight(packed, columns, inner);
  TORCH_CHECK(rows.dim() >= 1 && rows.scalar_type() == at::kByte && rows.is_contiguous() &&
                  rows.size(-1) == kernels::quantised_row_bytes(inner),
              "mat1 and mat2 shapes cannot be multiplied: the rows were not quantised from ", inner, " numbers");
  kernels::int8_linear_task task;
  task.x = rows.const_data_ptr<std::uint8_t>();
  task.packed = packed.const_data_ptr<std::uint8_t>();
  task.inner = inner;
  return task;
}

Tensor linear_int8(const Tensor& rows, const Tensor& packed, std::int64_t in_features, const optional_tensor& bias,
                   std::int64_t out_features, c10::string_view activation, const optional_tensor& residual) {
  auto task = int8_task(rows, packed, in_features, out_features);
  const linear_arguments arguments(with_last(rows, out_features), bias, activation, residual);
  return arguments.run(task, rows.options().dtype(at::kFloat),
                       [](const auto& given) { kernels::int8_linear(given, compute_team()); });
}

Tensor linear_int8_rows(const Tensor& rows, const Tensor& packed, std::int64_t in_features, const optional_tensor& bias,
                        std::int64_t out_features, c10::string_view activation, const optional_tensor& residual,
                        const optional_tensor& factors) {
  auto task = int8_task(rows, packed, in_features, out_features);
  const linear_arguments arguments(with_last(rows, out_features), bias, activation, residual);
  if (!arguments.adds())
    return quantise_rows(linear_int8(rows, packed, in_features, bias, out_features, activation, residual), factors);
  arguments.describe(task);
  task.factors = factors_for(factors, out_features);
  auto made = empty_rows(with_last(rows, out_features));
  task.quantised = made.mutable_data_ptr<std::uint8_t>();
  kernels::int8_linear(task, compute_team());
  return made;
}

Tensor linear_int8_weight(const Tensor& x, const Tensor& packed, const optional_tensor& bias, std::int64_t out_features,
                          c10::string_view activation, const optional_tensor& residual) {
  TORCH_CHECK(x.dim() >= 1 && is_fp32(x), "linear_int8_weight takes fp32 tensors");
  check_int8_weight(packed, out_features, x.size(-1));
  const linear_arguments arguments(with_last(x, out_features), bias, activation, residual);
  const dense_rows rows(x);
  kernels::int8_weight_linear_task task;
  task.x = rows.data;
  task.x_stride = rows.stride;
  task.packed = packed.const_data_ptr<std::uint8_t>();
  task.inner = rows.width;
  return arguments.run(task, x.options(),
                       [](const auto& given) { kernels::int8_weight_linear(given, compute_team()); });
}

Tensor linear_bf16(const Tensor& x, const Tensor& packed, const optional_tensor& bias, std::int64_t out_features,
                   c10::string_view activation, const optional_tensor& residual) {
  TORCH_CHECK(x.dim() >= 1 && is_fp32(x) && packed.scalar_type() == at::kBFloat16 && packed.is_contiguous(),
              "linear_bf16 takes fp32 rows and a packed weight");
  TORCH_CHECK(kernels::packed_bf16_elements(out_features, x.size(-1)) == packed.numel(), "mat1 and mat2 shapes cannot ",
              "be multiplied: the input's last size is ", x.size(-1), ", the weight was packed for another");
  const linear_arguments arguments(with_last(x, out_features), bias, activation, residual);
  const dense_rows rows(x);
  kernels::bf16_linear_task task;
  task.x = rows.data;
  task.x_stride = rows.stride;
  task.packed = static_cast<const std::uint16_t*>(packed.const_data_ptr());
  task.inner = rows.width;
  return arguments.run(task, x.options(), [](const auto& given) { kernels::bf16_linear(given, compute_team()); });
}

Tensor pack_linear_fp16(const Tensor& weight) {
  check_weight(weight);
  return weight.to(at::kHalf).contiguous();
}

Tensor activated(const Tensor& y, c10::string_view activation) {
  if (activation == "relu") return at::relu(y);
  if (activation == "gelu") return at::gelu(y);
  if (activation == "gelu_tanh") return at::gelu(y, "tanh");
  if (activation == "silu") return at::silu(y);
  TORCH_CHECK(activation == "none", "the linear layer does not know the activation ", activation);
  return y;
}

/// By ATen: a kernel of ours would be no faster, since what takes the time is that processors have no products of fp16.
Tensor linear_fp16(const Tensor& x, const Tensor& packed, const optional_tensor& bias, std::int64_t out_features,
                   c10::string_view activation, const optional_tensor& residual) {
  TORCH_CHECK(packed.scalar_type() == at::kHalf && packed.dim() == 2 && packed.size(0) == out_features,
              "linear_fp16 takes a weight in fp16 for ", out_features, " columns");
  auto y = at::linear(x.to(at::kHalf), packed).to(at::kFloat);
  if (bias && bias->defined()) y = at::add(y, *bias);
  y = activated(y, activation);
  return residual && residual->defined() ? at::add(y, *residual) : y;
}

std::tuple<Tensor, Tensor> add_layer_norm_rows(const Tensor& x, const optional_tensor& residual,
                                               c10::IntArrayRef normalized, const optional_tensor& weight,
                                               const optional_tensor& bias, double epsilon,
                                               const optional_tensor& factors) {
  const norm_arguments arguments(x, residual, normalized, weight, bias, epsilon);
  if (!arguments.fit() || normalized.size() != 1) {
    auto y = arguments.run_aten();
    auto rows = quantise_rows(y, factors);
    return {std::move(y), std::move(rows)};
  }
  auto rows = empty_rows(x.sizes().vec());
  auto y = arguments.run([&](auto& task) {
    task.quantised = rows.mutable_data_ptr<std::uint8_t>();
    task.factors = factors_for(factors, task.width);
  });
  return {std::move(y), std::move(rows)};
}

torch::Library make_library() {
  torch::Library library(torch::Library::FRAGMENT, "shoal", std::nullopt, __FILE__, __LINE__);
  const auto define = [&](const char* schema, const char* name, auto* function) {
    library.def(schema);
    library.impl(name, torch::dispatch(c10::DispatchKey::CPU, function));
  };
  // No tensor among its arguments tells the dispatcher where it is.
  library.def("smoothing_factors(int[] steps) -> Tensor");
  library.impl("smoothing_factors", torch::dispatch(c10::DispatchKey::CompositeExplicitAutograd, &smoothing_factors));
  define("pack_linear_int8(Tensor weight, int[] smoothing, bool clip) -> Tensor", "pack_linear_int8",
         &pack_linear_int8);
  define("pack_linear_bf16(Tensor weight) -> Tensor", "pack_linear_bf16", &pack_linear_bf16);
  define("pack_linear_fp16(Tensor weight) -> Tensor", "pack_linear_fp16", &pack_linear_fp16);
  define(
      "linear_fp16(Tensor x, Tensor packed, Tensor? bias, int out_features, str activation=\"none\", "
      "Tensor? residual=None) -> Tensor",
      "linear_fp16", &linear_fp16);
  define("quantise_rows(Tensor x, Tensor? factors=None) -> Tensor", "quantise_rows", &quantise_rows);
  define(
      "linear_int8(Tensor rows, Tensor packed, int in_features, Tensor? bias, int out_features, "
      "str activation=\"none\", Tensor? residual=None) -> Tensor",
      "linear_int8", &linear_int8);
  define(
      "linear_int8_rows(Tensor rows, Tensor packed, int in_features, Tensor? bias, int out_features, "
      "str activation=\"none\", Tensor? residual=None, Tensor? factors=None) -> Tensor",
      "linear_int8_rows", &linear_int8_rows);
  define(
      "linear_int8_weight(Tensor x, Tensor packed, Tensor? bias, int out_features, str activation=\"none\", "
      "Tensor? residual=None) -> Tensor",
      "linear_int8_weight", &linear_int8_weight);
  define(
      "linear_bf16(Tensor x, Tensor packed, Tensor? bias, int out_features, str activation=\"none\", "
      "Tensor? residual=None) -> Tensor",
      "linear_bf16", &linear_bf16);
  define(
      "add_layer_norm_rows(Tensor x, Tensor? residual, int[] normalized_shape, Tensor? weight=None, "
      "Tensor? bias=None, float eps=1e-05, Tensor? factors=None) -> (Tensor, Tensor)",
      "add_layer_norm_rows", &add_layer_norm_rows);
  return library;
}

}  // namespace

void register_precision_operators() { static const torch::Library library = make_library(); }

}  // namespace shoal::executor
