#include "worker/executor/convolution_operators.hpp"

#include <array>
#include <optional>
#include <string_view>

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

namespace shoal::worker::executor {

namespace {

using at::IntArrayRef;
using at::Tensor;
using optional_tensor = std::optional<Tensor>;
using scalars = c10::List<std::optional<at::Scalar>>;

/// scale / sqrt(variance + eps), in double: what an output channel is multiplied by.
Tensor batch_norm_factor(const optional_tensor& scale, const Tensor& variance, double eps) {
  auto factor = variance.to(at::kDouble).add(eps).rsqrt();
  return scale ? factor.mul(scale->to(at::kDouble)) : factor;
}

/// weight: [out, in / groups, h, w] fp32; scale, variance: [out].
Tensor fold_batch_norm_weight(const Tensor& weight, const optional_tensor& scale, const Tensor& variance, double eps) {
  const auto factor = batch_norm_factor(scale, variance, eps);
  return weight.to(at::kDouble).mul(factor.view({-1, 1, 1, 1})).to(at::kFloat);
}

/// All [out]: (bias - mean) * factor + shift.
Tensor fold_batch_norm_bias(const optional_tensor& bias, const optional_tensor& scale, const optional_tensor& shift,
                            const Tensor& mean, const Tensor& variance, double eps) {
  const auto start = bias ? bias->to(at::kDouble) : at::zeros_like(mean, at::kDouble);
  auto folded = start.sub(mean.to(at::kDouble)).mul(batch_norm_factor(scale, variance, eps));
  if (shift) folded = folded.add(shift->to(at::kDouble));
  return folded.to(at::kFloat);
}

Tensor pack_convolution_weight(const Tensor& weight, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                               int64_t groups, at::OptionalIntArrayRef input) {
  using pack = Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, int64_t, at::OptionalIntArrayRef);
  static const auto operation =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_convolution_weight", "").typed<pack>();
  return operation.call(weight.contiguous(), padding, stride, dilation, groups, input);
}

/// The same values in channels last, with the strides that say so even where sizes of one leave it open (oneDNN's
/// glue takes the layout of its result from them).
Tensor channels_last(const Tensor& input) {
  auto laid = input.contiguous(at::MemoryFormat::ChannelsLast);
  const auto channels = laid.size(1);
  const auto row = laid.size(3) * channels;
  const std::array<int64_t, 4> strides{laid.size(2) * row, 1, row, channels};
  return laid.strides() == IntArrayRef(strides) ? laid : laid.as_strided(laid.sizes(), strides);
}

scalars list_of(at::ArrayRef<double> numbers) {
  scalars list;
  for (const auto number : numbers) list.push_back(at::Scalar(number));
  return list;
}

Tensor convolution(const Tensor& input, const Tensor& weight, const optional_tensor& bias, IntArrayRef stride,
                   IntArrayRef padding, IntArrayRef dilation, int64_t groups, std::string_view activation,
                   at::ArrayRef<double> limits) {
  using pointwise = Tensor(const Tensor&, const Tensor&, const optional_tensor&, IntArrayRef, IntArrayRef, IntArrayRef,
                           int64_t, std::string_view, scalars, std::optional<std::string_view>);
  static const auto operation =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_convolution_pointwise", "").typed<pointwise>();
  TORCH_CHECK(input.dim() == 4, "a fused convolution takes four dimensions, not ", input.dim());
  // GELU's only setting is which formula, and the exact one is the only one passes ask for.
  const auto algorithm = activation == "gelu" ? std::optional<std::string_view>("none") : std::nullopt;
  return operation.call(channels_last(input), weight, bias, padding, stride, dilation, groups, activation,
                        list_of(limits), algorithm);
}

/// `tensor` in channels last, in memory that nobody else can see: itself if the caller's stack is its only owner.
Tensor own_channels_last(const Tensor& tensor) {
  const bool is_alone = tensor.use_count() == 1 && tensor.storage().use_count() == 1;
  auto laid = channels_last(tensor);
  return is_alone || !laid.is_alias_of(tensor) ? laid : channels_last(tensor.clone(at::MemoryFormat::ChannelsLast));
}

/// The sum is formed in `other`'s memory, or in a copy of it. (The variant of oneDNN's glue that leaves `other` alone
/// does not compare its shape, and fails on results of one channel or of one pixel.)
Tensor convolution_add(const Tensor& input, const Tensor& other, const Tensor& weight, const optional_tensor& bias,
                       IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, int64_t groups,
                       std::string_view activation) {
  using pointwise = Tensor&(Tensor&, const Tensor&, const Tensor&, const optional_tensor&, IntArrayRef, IntArrayRef,
                            IntArrayRef, int64_t, std::string_view, std::optional<at::Scalar>,
                            std::optional<std::string_view>, scalars, std::optional<std::string_view>);
  static const auto operation =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_convolution_pointwise_", "binary").typed<pointwise>();
  TORCH_CHECK(input.dim() == 4 && other.dim() == 4, "a fused convolution takes four dimensions");
  const auto unary = activation == "none" ? std::nullopt : std::optional(activation);
  auto sum = own_channels_last(other);
  return operation.call(sum, channels_last(input), weight, bias, padding, stride, dilation, groups, "add", std::nullopt,
                        unary, scalars(), std::nullopt);
}

torch::Library make_library() {
  torch::Library made(torch::Library::FRAGMENT, "shoal", std::nullopt, __FILE__, __LINE__);
  const auto define = [&](const char* schema, auto* kernel) {
    made.def(schema, torch::dispatch(c10::DispatchKey::CompositeExplicitAutograd, kernel));
  };
  define("fold_batch_norm_weight(Tensor weight, Tensor? scale, Tensor variance, float eps) -> Tensor",
         &fold_batch_norm_weight);
  define(
      "fold_batch_norm_bias(Tensor? bias, Tensor? scale, Tensor? shift, Tensor mean, Tensor variance, float eps)"
      " -> Tensor",
      &fold_batch_norm_bias);
  define(
      "pack_convolution_weight(Tensor weight, int[2] stride, int[2] padding, int[2] dilation, int groups,"
      " int[]? input) -> Tensor",
      &pack_convolution_weight);
  define(
      "convolution(Tensor input, Tensor weight, Tensor? bias, int[2] stride, int[2] padding, int[2] dilation,"
      " int groups, str activation, float[] limits) -> Tensor",
      &convolution);
  define(
      "convolution_add(Tensor input, Tensor other, Tensor weight, Tensor? bias, int[2] stride, int[2] padding,"
      " int[2] dilation, int groups, str activation) -> Tensor",
      &convolution_add);
  return made;
}

}  // namespace

void register_convolution_operators() { static const auto library = make_library(); }

}  // namespace shoal::worker::executor
