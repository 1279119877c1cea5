#include "executor/convolution_operators.hpp"

#include <array>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include "executor/convolution_arguments.hpp"
#include "executor/convolution_kernels.hpp"

namespace shoal::executor {

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
  TORCH_CHECK(weight.dim() == 4 && variance.numel() == weight.size(0) && (!scale || scale->numel() == weight.size(0)),
              "the batch norm has not as many channels as the convolution before it");
  const auto factor = batch_norm_factor(scale, variance, eps);
  return weight.to(at::kDouble).mul(factor.view({-1, 1, 1, 1})).to(at::kFloat);
}

/// All [out]: (bias - mean) * factor + shift.
Tensor fold_batch_norm_bias(const optional_tensor& bias, const optional_tensor& scale, const optional_tensor& shift,
                            const Tensor& mean, const Tensor& variance, double eps) {
  const auto channels = mean.numel();
  TORCH_CHECK(variance.numel() == channels && (!bias || bias->numel() == channels) &&
                  (!scale || scale->numel() == channels) && (!shift || shift->numel() == channels),
              "the batch norm's vectors have different sizes");
  const auto start = bias ? bias->to(at::kDouble) : at::zeros_like(mean, at::kDouble);
  auto folded = start.sub(mean.to(at::kDouble)).mul(batch_norm_factor(scale, variance, eps));
  if (shift) folded = folded.add(shift->to(at::kDouble));
  return folded.to(at::kFloat);
}

// ---- Our kernels ----

/// One image of up to so many multiplications is little: measured where a call of oneDNN, which costs 25 us whatever it
/// does, loses to our kernels (executor/README.md).
constexpr std::int64_t little_dense = 8'000'000;
constexpr std::int64_t little_depthwise = 2'000'000;

/// check_geometry, and that a run gives what fits it.
void check_call(const Tensor& input, const Tensor& weight, const optional_tensor& bias, IntArrayRef sizes,
                IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, int64_t groups) {
  check_geometry(sizes, stride, padding, dilation, groups);
  TORCH_CHECK(input.dim() == 4 && input.size(1) == sizes[1] * groups, "the convolution does not take an input of ",
              input.sizes());
  TORCH_CHECK(input.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
                  (!bias || (bias->scalar_type() == at::kFloat && bias->numel() == sizes[0])),
              "a fused convolution takes fp32, and one bias per output channel");
  TORCH_CHECK(weight.is_mkldnn() || weight.dim() == 1 || weight.sizes() == sizes, "the weight has other sizes");
  for (int side = 0; side < 2; ++side)
    TORCH_CHECK(output_size(input.size(side + 2), sizes[side + 2], stride[side], padding[side], dilation[side]) > 0,
                "the convolution's kernel is larger than its input of ", input.sizes());
}

/// The geometry of a checked convolution of `input` [n, c, h, w]; nothing if our kernels do not do it.
std::optional<convolution_shape> shape_of(IntArrayRef input, IntArrayRef weight, IntArrayRef stride,
                                          IntArrayRef padding, IntArrayRef dilation, int64_t groups) {
  const bool is_depthwise = groups > 1 && groups == input[1] && groups == weight[0] && weight[1] == 1;
  if (!is_depthwise && (groups != 1 || weight[1] != input[1])) return std::nullopt;
  const auto out = [&](int side) {
    return output_size(input[side + 2], weight[side + 2], stride[side], padding[side], dilation[side]);
  };
  const convolution_shape shape{input[0],   input[2],    input[3],    input[1],    out(0),    out(1),
                                weight[0],  weight[2],   weight[3],   stride[0],   stride[1], padding[0],
                                padding[1], dilation[0], dilation[1], is_depthwise};
  return takes(shape) ? std::optional(shape) : std::nullopt;
}

/// Whether our kernels are to convolve images of these sizes.
bool is_little(const convolution_shape& shape) {
  const auto per_pixel = static_cast<double>(shape.kernel_height * shape.kernel_width * shape.out_channels) *
                         static_cast<double>(shape.is_depthwise ? 1 : shape.in_channels);
  const auto work = per_pixel * static_cast<double>(shape.out_height * shape.out_width);
  return work <= static_cast<double>(shape.is_depthwise ? little_depthwise : little_dense);
}

struct fused_activation {
  convolution_ending ending{nullptr, nullptr, -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::infinity()};
  Tensor& (*after)(Tensor&) = nullptr;  ///< what our kernels do not do themselves
};

fused_activation read_activation(std::string_view name) {
  fused_activation read;
  if (name == "relu") read.ending.low = 0;
  if (name == "hardswish") read.ending.gating = gate::hardswish;
  if (name == "hardsigmoid") read.ending.gating = gate::hardsigmoid;
  if (name == "swish") read.after = [](Tensor& y) -> Tensor& { return at::silu_(y); };
  if (name == "sigmoid") read.after = [](Tensor& y) -> Tensor& { return at::sigmoid_(y); };
  if (name == "tanh") read.after = [](Tensor& y) -> Tensor& { return at::tanh_(y); };
  if (name == "gelu") read.after = [](Tensor& y) -> Tensor& { return at::gelu_(y); };
  return read;
}

/// A row of zeros that is read for pixels outside of an image.
const float* zeros(int64_t count) {
  thread_local std::vector<float> row;
  if (row.size() < static_cast<std::size_t>(count)) row.resize(static_cast<std::size_t>(count));
  return row.data();
}

/// `input` is in channels last, and so is `residual`, if there is one: then the result is formed in it.
Tensor convolve_directly(const convolution_shape& shape, const Tensor& input, const Tensor& packed,
                         const optional_tensor& bias, Tensor residual, std::string_view activation,
                         at::ArrayRef<double> limits) {
  TORCH_CHECK(static_cast<std::size_t>(packed.numel()) == packed_size(shape) && packed.is_contiguous(),
              "the weight is packed for another shape");
  const std::array<int64_t, 4> sizes{shape.batch, shape.out_channels, shape.out_height, shape.out_width};
  auto [ending, after] = read_activation(activation);
  if (activation == "hardtanh") {
    TORCH_CHECK(limits.size() == 2, "hardtanh takes two limits");
    ending.low = static_cast<float>(limits[0]);
    ending.high = static_cast<float>(limits[1]);
  }
  Tensor row;
  if (bias) {
    row = bias->contiguous();
    ending.bias = row.const_data_ptr<float>();
  }
  if (residual.defined()) {
    TORCH_CHECK(residual.sizes() == IntArrayRef(sizes),
                "the tensor that is added is not like the convolution's result");
    ending.residual = residual.const_data_ptr<float>();
  } else {
    residual = channels_last(at::empty(sizes, input.options().memory_format(at::MemoryFormat::ChannelsLast)));
  }
  convolve(shape, input.const_data_ptr<float>(), packed.const_data_ptr<float>(), zeros(shape.in_channels), ending,
           residual.data_ptr<float>());
  if (after != nullptr) after(residual);
  if (activation == "leaky_relu") at::leaky_relu_(residual, limits.empty() ? 0.01 : limits[0]);
  return residual;
}

/// The geometry, if the weight was packed for our kernels.
std::optional<convolution_shape> direct_shape(const Tensor& input, const Tensor& weight, IntArrayRef sizes,
                                              IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                                              int64_t groups) {
  if (weight.is_mkldnn() || weight.dim() != 1) return std::nullopt;
  const auto shape = shape_of(input.sizes(), sizes, stride, padding, dilation, groups);
  TORCH_CHECK(shape, "the weight is packed for another convolution");
  return shape;
}

// ---- The operators ----

/// Packed for our kernels: one dimension. Else oneDNN's.
Tensor pack_convolution_weight(const Tensor& weight, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                               int64_t groups, at::OptionalIntArrayRef input) {
  check_geometry(weight.sizes(), stride, padding, dilation, groups);
  if (input && input->size() == 4 && at::get_num_threads() == 1 && has_convolution_kernels()) {
    const auto shape = shape_of(*input, weight.sizes(), stride, padding, dilation, groups);
    if (shape && is_little(*shape)) {
      const auto plain = weight.contiguous();
      auto packed = at::empty({static_cast<int64_t>(packed_size(*shape))}, weight.options());
      pack_weight(*shape, plain.const_data_ptr<float>(), packed.data_ptr<float>());
      return packed;
    }
  }
  using pack = Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, int64_t, at::OptionalIntArrayRef);
  static const auto operation =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_convolution_weight", "").typed<pack>();
  return operation.call(weight.contiguous(), padding, stride, dilation, groups, input);
}

scalars list_of(at::ArrayRef<double> numbers) {
  scalars list;
  for (const auto number : numbers) list.push_back(at::Scalar(number));
  return list;
}

Tensor convolution(const Tensor& input, const Tensor& weight, const optional_tensor& bias, IntArrayRef sizes,
                   IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, int64_t groups,
                   std::string_view activation, at::ArrayRef<double> limits) {
  using pointwise = Tensor(const Tensor&, const Tensor&, const optional_tensor&, IntArrayRef, IntArrayRef, IntArrayRef,
                           int64_t, std::string_view, scalars, std::optional<std::string_view>);
  static const auto operation =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_convolution_pointwise", "").typed<pointwise>();
  check_call(input, weight, bias, sizes, stride, padding, dilation, groups);
  if (const auto shape = direct_shape(input, weight, sizes, stride, padding, dilation, groups))
    return convolve_directly(*shape, channels_last(input), weight, bias, {}, activation, limits);
  // GELU's only setting is which formula, and the exact one is the only one passes ask for.
  const auto algorithm = activation == "gelu" ? std::optional<std::string_view>("none") : std::nullopt;
  return operation.call(channels_last(input), weight, bias, padding, stride, dilation, groups, activation,
                        list_of(limits), algorithm);
}

/// The sum is formed in `other`'s memory, or in a copy of it. (The variant of oneDNN's glue that leaves `other` alone
/// does not compare its shape, and fails on results of one channel or of one pixel.)
Tensor convolution_add(const Tensor& input, const Tensor& other, const Tensor& weight, const optional_tensor& bias,
                       IntArrayRef sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, int64_t groups,
                       std::string_view activation) {
  using pointwise = Tensor&(Tensor&, const Tensor&, const Tensor&, const optional_tensor&, IntArrayRef, IntArrayRef,
                            IntArrayRef, int64_t, std::string_view, std::optional<at::Scalar>,
                            std::optional<std::string_view>, scalars, std::optional<std::string_view>);
  static const auto operation =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_convolution_pointwise_", "binary").typed<pointwise>();
  check_call(input, weight, bias, sizes, stride, padding, dilation, groups);
  TORCH_CHECK(other.dim() == 4 && other.scalar_type() == at::kFloat,
              "a fused convolution adds four dimensions of fp32");
  const auto unary = activation == "none" ? std::nullopt : std::optional(activation);
  auto sum = own_channels_last(other);
  if (const auto shape = direct_shape(input, weight, sizes, stride, padding, dilation, groups))
    return convolve_directly(*shape, channels_last(input), weight, bias, sum, activation, {});
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
      "convolution(Tensor input, Tensor weight, Tensor? bias, int[4] sizes, int[2] stride, int[2] padding,"
      " int[2] dilation, int groups, str activation, float[] limits) -> Tensor",
      &convolution);
  define(
      "convolution_add(Tensor input, Tensor other, Tensor weight, Tensor? bias, int[4] sizes, int[2] stride,"
      " int[2] padding, int[2] dilation, int groups, str activation) -> Tensor",
      &convolution_add);
  return made;
}

}  // namespace

void register_convolution_operators() { static const auto library = make_library(); }

}  // namespace shoal::executor
