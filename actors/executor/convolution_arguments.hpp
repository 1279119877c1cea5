// What operators of ours that convolve check and prepare: sizes, and images in channels last. Throws as ATen's do.
#pragma once

#include <algorithm>
#include <array>

#include <ATen/core/Tensor.h>

namespace shoal::executor {

/// The same values in channels last, with the strides that say so even where sizes of one leave it open (oneDNN's
/// glue takes the layout of its result from them).
inline at::Tensor channels_last(const at::Tensor& input) {
  auto laid = input.contiguous(at::MemoryFormat::ChannelsLast);
  const auto channels = laid.size(1);
  const auto row = laid.size(3) * channels;
  const std::array<int64_t, 4> strides{laid.size(2) * row, 1, row, channels};
  return laid.strides() == at::IntArrayRef(strides) ? laid : laid.as_strided(laid.sizes(), strides);
}

/// `tensor` in channels last, in memory that nobody else can see: itself if the caller's stack is its only owner.
inline at::Tensor own_channels_last(const at::Tensor& tensor) {
  const bool is_alone = tensor.use_count() == 1 && tensor.storage().use_count() == 1;
  auto laid = channels_last(tensor);
  return is_alone || !laid.is_alias_of(tensor) ? laid : channels_last(tensor.clone(at::MemoryFormat::ChannelsLast));
}

/// What eager PyTorch checks of a convolution's arguments and oneDNN's glue does not; numbers are bounded so that no
/// product of a few overflows. weight: [out, in / groups, h, w].
inline void check_geometry(at::IntArrayRef weight, at::IntArrayRef stride, at::IntArrayRef padding,
                           at::IntArrayRef dilation, int64_t groups) {
  constexpr int64_t most = 1 << 20;
  const auto within = [](at::IntArrayRef numbers, std::size_t count, int64_t low) {
    return numbers.size() == count &&
           std::all_of(numbers.begin(), numbers.end(), [&](int64_t each) { return each >= low && each <= most; });
  };
  TORCH_CHECK(within(weight, 4, 1) && within(stride, 2, 1) && within(padding, 2, 0) && within(dilation, 2, 1),
              "a size, stride, padding or dilation of the convolution is out of range");
  TORCH_CHECK(groups >= 1 && weight[0] % groups == 0, "the convolution's channels are not a multiple of its groups");
}

inline int64_t output_size(int64_t input, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  const auto left = input + 2 * padding - dilation * (kernel - 1) - 1;
  return left < 0 ? 0 : left / stride + 1;
}

}  // namespace shoal::executor
