// Direct fp32 convolutions of our own, channels last, for AVX-512: what small convolutions want, in which a call of
// oneDNN costs more than the arithmetic. Plain C++ without LibTorch; the caller checks shapes and owns the memory.
// One thread; nothing is allocated but a row of zeros. Sums run in one order, whatever the batch.
//
// A dense convolution is a product of matrices in which a row of the left one is scattered: per output pixel and tap a
// pointer to the input's channels there, or to zeros outside of the image. Eight pixels by 32 (or 16) output channels
// stay in registers. A packed weight is [out / 32][h][w][in][32], the last block 16 wide if that holds the rest, padded
// with zeros. A depthwise weight is [h][w][channels].
#pragma once

#include <cstddef>
#include <cstdint>

namespace shoal::executor {

struct convolution_shape {
  std::int64_t batch = 0;
  std::int64_t in_height = 0, in_width = 0, in_channels = 0;
  std::int64_t out_height = 0, out_width = 0, out_channels = 0;
  std::int64_t kernel_height = 1, kernel_width = 1;
  std::int64_t stride_height = 1, stride_width = 1;
  std::int64_t padding_height = 0, padding_width = 0;
  std::int64_t dilation_height = 1, dilation_width = 1;
  bool is_depthwise = false;  ///< as many groups as channels in and out
};

/// What is done with an element before it is written: residual added, then min(max(y, low), high), then, with `gate`,
/// y * min(max(y + 3, 0), 6) / 6 (hardswish) or min(max(y + 3, 0), 6) / 6 (hardsigmoid).
enum class gate : std::uint8_t { none, hardswish, hardsigmoid };
struct convolution_ending {
  const float* bias = nullptr;      ///< [out]
  const float* residual = nullptr;  ///< like the output, and may be it
  float low;
  float high;
  gate gating = gate::none;
};

/// Whether this machine runs the kernels.
bool has_convolution_kernels() noexcept;

/// Whether the kernel's area is within what a tile keeps pointers for.
bool takes(const convolution_shape& shape) noexcept;

/// Floats of a packed weight.
std::size_t packed_size(const convolution_shape& shape) noexcept;

/// weight: [out, in (1 if depthwise), h, w], contiguous.
void pack_weight(const convolution_shape& shape, const float* weight, float* packed) noexcept;

/// input: [batch, in_height, in_width, in]; output: [batch, out_height, out_width, out]. `zeros`: in_channels of them.
void convolve(const convolution_shape& shape, const float* input, const float* packed, const float* zeros,
              const convolution_ending& ending, float* output) noexcept;

}  // namespace shoal::executor
