#include "executor/narrow_convolution_operators.hpp"

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/hardsigmoid.h>
#include <ATen/ops/hardswish.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>
#include <torch/library.h>

#include "executor/compute_team.hpp"
#include "executor/convolution_arguments.hpp"
#include "executor/kernels/bf16_linear.hpp"
#include "executor/kernels/int8_linear.hpp"
#include "executor/kernels/narrow_convolution.hpp"
#include "executor/kernels/quantised_images.hpp"

namespace shoal::executor {

namespace {

using at::IntArrayRef;
using at::Tensor;
using optional_tensor = std::optional<Tensor>;
using reals = at::ArrayRef<double>;

/// [out, height * width * channels], channels filled up with zeros to `channels`.
Tensor as_matrix(const Tensor& weight, std::int64_t channels) {
  const auto last = weight.permute({0, 2, 3, 1});
  const auto filled = at::constant_pad_nd(last, {0, channels - weight.size(1)});
  return filled.reshape({weight.size(0), -1}).contiguous();
}

kernels::convolution_shape shape_of_weight(IntArrayRef sizes) {
  kernels::convolution_shape shape;
  shape.out_channels = sizes[0];
  shape.in_channels = sizes[1];
  shape.kernel_height = sizes[2];
  shape.kernel_width = sizes[3];
  return shape;
}

std::int64_t int8_inner(IntArrayRef sizes) {
  const auto inner = kernels::convolution_inner_int8(shape_of_weight(sizes));
  TORCH_CHECK(inner, "the convolution's sums might not fit 31 bits");
  return *inner;
}

std::int64_t bf16_inner(IntArrayRef sizes) {
  const auto inner = kernels::convolution_inner_bf16(shape_of_weight(sizes));
  TORCH_CHECK(inner, "the packed weight would be too large");
  return *inner;
}

void check_weight(const Tensor& weight) {
  TORCH_CHECK(weight.dim() == 4 && weight.scalar_type() == at::kFloat && weight.numel() > 0,
              "only a convolution's weight in fp32 can be packed");
}

Tensor pack_convolution_int8(const Tensor& weight, bool clip) {
  check_weight(weight);
  const auto inner = int8_inner(weight.sizes());
  const auto bytes = kernels::packed_int8_bytes(weight.size(0), inner);
  TORCH_CHECK(bytes, "the packed weight would be too large");
  const auto matrix = as_matrix(weight, kernels::pixel_bytes(weight.size(1)));
  auto packed = at::empty({*bytes}, at::kByte);
  kernels::pack_int8_weight(matrix.const_data_ptr<float>(), weight.size(0), inner, inner, 1, nullptr, clip,
                            packed.mutable_data_ptr<std::uint8_t>());
  return packed;
}

Tensor pack_convolution_bf16(const Tensor& weight) {
  check_weight(weight);
  const auto inner = bf16_inner(weight.sizes());
  const auto count = kernels::packed_bf16_elements(weight.size(0), inner);
  TORCH_CHECK(count, "the packed weight would be too large");
  const auto matrix = as_matrix(weight, kernels::bf16_width(weight.size(1)));
  auto packed = at::empty({*count}, at::kBFloat16);
  kernels::pack_bf16_weight(matrix.const_data_ptr<float>(), weight.size(0), inner, inner, 1,
                            static_cast<std::uint16_t*>(packed.mutable_data_ptr()));
  return packed;
}

/// Nothing: each image has its own.
std::optional<kernels::row_numbers> numbers_of(reals range) {
  TORCH_CHECK(range.empty() || range.size() == 2, "a range has two ends");
  if (range.empty()) return std::nullopt;
  return kernels::numbers_of_range(static_cast<float>(range[0]), static_cast<float>(range[1]));
}

Tensor empty_images(std::int64_t images, std::int64_t height, std::int64_t width, std::int64_t channels) {
  return at::empty({images, height + kernels::extra_rows(width, channels), width, kernels::pixel_bytes(channels)},
                   at::kByte);
}

Tensor quantise_images(const Tensor& x, reals range) {
  TORCH_CHECK(x.dim() == 4 && x.scalar_type() == at::kFloat && x.numel() > 0, "only images of fp32 can be quantised");
  const auto numbers = numbers_of(range);
  const auto laid = channels_last(x);
  auto made = empty_images(x.size(0), x.size(2), x.size(3), x.size(1));
  kernels::quantise_images({laid.const_data_ptr<float>(), x.size(0), x.size(2) * x.size(3), x.size(1),
                            numbers ? &*numbers : nullptr, made.mutable_data_ptr<std::uint8_t>(), made.stride(0)},
                           compute_team());
  return made;
}

/// Everything that is the same for both kinds of numbers, checked.
struct narrow_arguments {
  IntArrayRef sizes, stride, padding, dilation;
  std::string_view activation;
  reals limits;
  Tensor bias;
  Tensor other;  ///< in memory of its own, since the result is formed in it; undefined: none

  narrow_arguments(const optional_tensor& bias_given, const optional_tensor& other_given, IntArrayRef sizes_given,
                   IntArrayRef stride_given, IntArrayRef padding_given, IntArrayRef dilation_given,
                   std::string_view activation_given, reals limits_given)
      : sizes(sizes_given),
        stride(stride_given),
        padding(padding_given),
        dilation(dilation_given),
        activation(activation_given),
        limits(limits_given) {
    check_geometry(sizes, stride, padding, dilation, 1);
    if (bias_given && bias_given->defined()) {
      TORCH_CHECK(bias_given->scalar_type() == at::kFloat && bias_given->dim() == 1 && bias_given->size(0) == sizes[0],
                  "a convolution takes one bias per output channel");
      bias = bias_given->contiguous();
    }
    if (!other_given || !other_given->defined()) return;
    TORCH_CHECK(other_given->dim() == 4 && other_given->scalar_type() == at::kFloat,
                "a convolution adds four dimensions of fp32");
    other = own_channels_last(*other_given);
  }

  [[nodiscard]] bool is_clamped() const {
    return activation == "none" || activation == "relu" || activation == "hardtanh";
  }

  void describe(kernels::convolution_result& task, std::int64_t images, std::int64_t height, std::int64_t width) const {
    task.images = images;
    task.shape = shape_of_weight(sizes);
    auto& shape = task.shape;
    shape.in_height = height;
    shape.in_width = width;
    shape.stride_height = stride[0];
    shape.stride_width = stride[1];
    shape.padding_height = padding[0];
    shape.padding_width = padding[1];
    shape.dilation_height = dilation[0];
    shape.dilation_width = dilation[1];
    shape.out_height = output_size(height, sizes[2], stride[0], padding[0], dilation[0]);
    shape.out_width = output_size(width, sizes[3], stride[1], padding[1], dilation[1]);
    TORCH_CHECK(shape.out_height > 0 && shape.out_width > 0, "the convolution's kernel is larger than its input of ",
                height, " x ", width);
    if (bias.defined()) task.bias = bias.const_data_ptr<float>();
    if (activation == "relu") task.low = 0;
    if (activation == "hardtanh") {
      TORCH_CHECK(limits.size() == 2, "hardtanh takes two limits");
      task.low = static_cast<float>(limits[0]);
      task.high = static_cast<float>(limits[1]);
    }
    if (!other.defined()) return;
    const std::array<std::int64_t, 4> wanted{images, sizes[0], shape.out_height, shape.out_width};
    TORCH_CHECK(other.sizes() == IntArrayRef(wanted), "the tensor that is added is not like the convolution's result");
    task.residual = other.const_data_ptr<float>();
  }

  /// Memory for the result as fp32.
  Tensor result(kernels::convolution_result& task) const {
    auto y =
        other.defined()
            ? other
            : channels_last(at::empty({task.images, sizes[0], task.shape.out_height, task.shape.out_width},
                                      at::TensorOptions(at::kFloat).memory_format(at::MemoryFormat::ChannelsLast)));
    task.y = y.mutable_data_ptr<float>();
    return y;
  }

  /// What the kernels do not do themselves.
  void activate(Tensor& y) const {
    if (activation == "hardswish") at::hardswish_(y);
    if (activation == "hardsigmoid") at::hardsigmoid_(y);
    if (activation == "swish") at::silu_(y);
    if (activation == "sigmoid") at::sigmoid_(y);
    if (activation == "tanh") at::tanh_(y);
    if (activation == "gelu") at::gelu_(y);
    if (activation == "leaky_relu") at::leaky_relu_(y, limits.empty() ? 0.01 : limits[0]);
  }
};

kernels::int8_convolution_task int8_task(const Tensor& input, const Tensor& packed, const narrow_arguments& given) {
  const auto channels = given.sizes[1];
  TORCH_CHECK(input.dim() == 4 && input.scalar_type() == at::kByte && input.is_contiguous() && input.numel() > 0 &&
                  input.size(3) == kernels::pixel_bytes(channels),
              "the images were not quantised from ", channels, " channels");
  const auto height = input.size(1) - kernels::extra_rows(input.size(2), channels);
  TORCH_CHECK(height > 0, "the images were not quantised");
  TORCH_CHECK(packed.scalar_type() == at::kByte && packed.is_contiguous() &&
                  kernels::packed_int8_bytes(given.sizes[0], int8_inner(given.sizes)) == packed.numel(),
              "the weight is packed for another convolution");
  kernels::int8_convolution_task task;
  given.describe(task, input.size(0), height, input.size(2));
  task.x = input.const_data_ptr<std::uint8_t>();
  task.x_bytes = input.stride(0);
  task.packed = packed.const_data_ptr<std::uint8_t>();
  return task;
}

Tensor quantised_result(kernels::int8_convolution_task& task, const narrow_arguments& given, reals range) {
  TORCH_CHECK(given.is_clamped(), "a convolution does not quantise after ", given.activation);
  const auto numbers = numbers_of(range);
  TORCH_CHECK(numbers, "a convolution quantises its result within a range that is known");
  auto images = empty_images(task.images, task.shape.out_height, task.shape.out_width, given.sizes[0]);
  task.quantised = images.mutable_data_ptr<std::uint8_t>();
  task.quantised_bytes = images.stride(0);
  task.numbers = *numbers;
  return images;
}

Tensor convolution_int8(const Tensor& input, const Tensor& packed, const optional_tensor& bias,
                        const optional_tensor& other, IntArrayRef sizes, IntArrayRef stride, IntArrayRef padding,
                        IntArrayRef dilation, c10::string_view activation, reals limits) {
  const narrow_arguments given(bias, other, sizes, stride, padding, dilation, activation, limits);
  auto task = int8_task(input, packed, given);
  auto y = given.result(task);
  kernels::int8_convolution(task, compute_team());
  given.activate(y);
  return y;
}

Tensor convolution_int8_images(const Tensor& input, const Tensor& packed, const optional_tensor& bias,
                               const optional_tensor& other, IntArrayRef sizes, IntArrayRef stride, IntArrayRef padding,
                               IntArrayRef dilation, c10::string_view activation, reals limits, reals range) {
  const narrow_arguments given(bias, other, sizes, stride, padding, dilation, activation, limits);
  auto task = int8_task(input, packed, given);
  auto images = quantised_result(task, given, range);
  kernels::int8_convolution(task, compute_team());
  return images;
}

std::tuple<Tensor, Tensor> convolution_int8_both(const Tensor& input, const Tensor& packed, const optional_tensor& bias,
                                                 const optional_tensor& other, IntArrayRef sizes, IntArrayRef stride,
                                                 IntArrayRef padding, IntArrayRef dilation, c10::string_view activation,
                                                 reals limits, reals range) {
  const narrow_arguments given(bias, other, sizes, stride, padding, dilation, activation, limits);
  auto task = int8_task(input, packed, given);
  auto images = quantised_result(task, given, range);
  auto y = given.result(task);
  kernels::int8_convolution(task, compute_team());
  return {std::move(y), std::move(images)};
}

Tensor convolution_bf16(const Tensor& input, const Tensor& packed, const optional_tensor& bias,
                        const optional_tensor& other, IntArrayRef sizes, IntArrayRef stride, IntArrayRef padding,
                        IntArrayRef dilation, c10::string_view activation, reals limits) {
  const narrow_arguments given(bias, other, sizes, stride, padding, dilation, activation, limits);
  TORCH_CHECK(input.dim() == 4 && input.scalar_type() == at::kFloat && input.numel() > 0 && input.size(1) == sizes[1],
              "the convolution does not take an input of ", input.sizes());
  TORCH_CHECK(packed.scalar_type() == at::kBFloat16 && packed.is_contiguous() &&
                  kernels::packed_bf16_elements(sizes[0], bf16_inner(sizes)) == packed.numel(),
              "the weight is packed for another convolution");
  kernels::bf16_convolution_task task;
  given.describe(task, input.size(0), input.size(2), input.size(3));
  const auto laid = channels_last(input);
  task.x = laid.const_data_ptr<float>();
  task.packed = static_cast<const std::uint16_t*>(packed.const_data_ptr());
  auto y = given.result(task);
  kernels::bf16_convolution(task, compute_team());
  given.activate(y);
  return y;
}

torch::Library make_library() {
  torch::Library library(torch::Library::FRAGMENT, "shoal", std::nullopt, __FILE__, __LINE__);
  const auto define = [&](const std::string& schema, const char* name, auto* function) {
    library.def(schema.c_str());
    library.impl(name, torch::dispatch(c10::DispatchKey::CPU, function));
  };
  const std::string arguments =
      "(Tensor input, Tensor packed, Tensor? bias, Tensor? other, int[4] sizes, int[2] stride, int[2] padding, "
      "int[2] dilation, str activation, float[] limits";
  define("pack_convolution_int8(Tensor weight, bool clip) -> Tensor", "pack_convolution_int8", &pack_convolution_int8);
  define("pack_convolution_bf16(Tensor weight) -> Tensor", "pack_convolution_bf16", &pack_convolution_bf16);
  define("quantise_images(Tensor x, float[] range) -> Tensor", "quantise_images", &quantise_images);
  define("convolution_int8" + arguments + ") -> Tensor", "convolution_int8", &convolution_int8);
  define("convolution_int8_images" + arguments + ", float[] range) -> Tensor", "convolution_int8_images",
         &convolution_int8_images);
  define("convolution_int8_both" + arguments + ", float[] range) -> (Tensor, Tensor)", "convolution_int8_both",
         &convolution_int8_both);
  define("convolution_bf16" + arguments + ") -> Tensor", "convolution_bf16", &convolution_bf16);
  return library;
}

}  // namespace

void register_narrow_convolution_operators() { static const torch::Library library = make_library(); }

}  // namespace shoal::executor
