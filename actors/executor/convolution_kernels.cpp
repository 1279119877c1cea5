#include "executor/convolution_kernels.hpp"

#if defined(__x86_64__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 says it of its own intrinsics (PR 105593)
#include <immintrin.h>
#define SHOAL_AVX512 __attribute__((target("avx512f"), always_inline)) inline
#define SHOAL_AVX512_ENTRY __attribute__((target("avx512f")))
#endif

namespace shoal::executor {

namespace {

constexpr std::int64_t lanes = 16;
constexpr std::int64_t wide = 2 * lanes;
constexpr int pixels = 8;                 // of a tile: 16 sums of 16 lanes beside two weights and a factor
constexpr std::int64_t chunk_tiles = 16;  // whose inputs stay in the nearest cache for all output channels
constexpr std::int64_t most_pointers = 4096;

std::int64_t taps_of(const convolution_shape& shape) { return shape.kernel_height * shape.kernel_width; }

/// The width of the block of output channels that begins at `from`.
std::int64_t block_width(const convolution_shape& shape, std::int64_t from) {
  return shape.out_channels - from > lanes ? wide : lanes;
}

}  // namespace

bool takes(const convolution_shape& shape) noexcept { return taps_of(shape) * pixels <= most_pointers; }

std::size_t packed_size(const convolution_shape& shape) noexcept {
  if (shape.is_depthwise) return static_cast<std::size_t>(taps_of(shape) * shape.out_channels);
  const auto padded = (shape.out_channels + lanes - 1) / lanes * lanes;
  return static_cast<std::size_t>(taps_of(shape) * shape.in_channels * padded);
}

void pack_weight(const convolution_shape& shape, const float* weight, float* packed) noexcept {
  const auto taps = taps_of(shape);
  if (shape.is_depthwise) {
    for (std::int64_t tap = 0; tap < taps; ++tap)
      for (std::int64_t channel = 0; channel < shape.out_channels; ++channel) *packed++ = weight[channel * taps + tap];
    return;
  }
  for (std::int64_t from = 0; from < shape.out_channels; from += wide)
    for (std::int64_t tap = 0; tap < taps; ++tap)
      for (std::int64_t in = 0; in < shape.in_channels; ++in)
        for (std::int64_t lane = 0; lane < block_width(shape, from); ++lane) {
          const auto out = from + lane;
          *packed++ = out < shape.out_channels ? weight[(out * shape.in_channels + in) * taps + tap] : 0.0F;
        }
}

#if defined(__x86_64__)

namespace {

/// Pointers to the input's channels under each tap, for the next few output pixels in the order of the output.
class tap_pointers {
 public:
  tap_pointers(const convolution_shape& shape, const float* input, const float* zeros)
      : shape_(shape), image_(input), zeros_(zeros) {}

  /// Fills `to[tap * pixels + pixel]`; pixels beyond `valid` read zeros.
  void next(int valid, const float** to) {
    if (valid == pixels && is_inside()) return next_inside(to);
    const auto taps = taps_of(shape_);
    for (int pixel = 0; pixel < pixels; ++pixel) {
      if (pixel < valid) {
        next_one(to + pixel);
        continue;
      }
      for (std::int64_t tap = 0; tap < taps; ++tap) to[tap * pixels + pixel] = zeros_;
    }
  }

 private:
  [[nodiscard]] std::int64_t top() const { return row_ * shape_.stride_height - shape_.padding_height; }
  [[nodiscard]] std::int64_t left() const { return column_ * shape_.stride_width - shape_.padding_width; }

  /// Whether the next tile lies in one row and reads nothing outside of the image.
  [[nodiscard]] bool is_inside() const {
    const auto right = left() + (pixels - 1) * shape_.stride_width + (shape_.kernel_width - 1) * shape_.dilation_width;
    const auto bottom = top() + (shape_.kernel_height - 1) * shape_.dilation_height;
    return column_ + pixels <= shape_.out_width && top() >= 0 && left() >= 0 && right < shape_.in_width &&
           bottom < shape_.in_height;
  }

  void next_inside(const float** to) {
    const auto step = shape_.stride_width * shape_.in_channels;
    for (std::int64_t h = 0; h < shape_.kernel_height; ++h)
      for (std::int64_t w = 0; w < shape_.kernel_width; ++w, to += pixels) {
        const auto* from = pixel_at(top() + h * shape_.dilation_height, left() + w * shape_.dilation_width);
#pragma GCC unroll 8
        for (int pixel = 0; pixel < pixels; ++pixel) to[pixel] = from + pixel * step;
      }
    column_ += pixels - 1;
    advance();
  }

  void next_one(const float** to) {
    for (std::int64_t h = 0; h < shape_.kernel_height; ++h) {
      const auto y = top() + h * shape_.dilation_height;
      const bool is_row = y >= 0 && y < shape_.in_height;
      for (std::int64_t w = 0; w < shape_.kernel_width; ++w, to += pixels) {
        const auto x = left() + w * shape_.dilation_width;
        *to = is_row && x >= 0 && x < shape_.in_width ? pixel_at(y, x) : zeros_;
      }
    }
    advance();
  }

  [[nodiscard]] const float* pixel_at(std::int64_t y, std::int64_t x) const {
    return image_ + (y * shape_.in_width + x) * shape_.in_channels;
  }

  void advance() {
    if (++column_ < shape_.out_width) return;
    column_ = 0;
    if (++row_ < shape_.out_height) return;
    row_ = 0;
    image_ += shape_.in_height * shape_.in_width * shape_.in_channels;
  }

  const convolution_shape& shape_;
  const float* image_;
  const float* zeros_;
  std::int64_t row_ = 0;
  std::int64_t column_ = 0;
};

SHOAL_AVX512 __m512 finish(__m512 sum, const convolution_ending& ending) {
  // Of two operands of which one is not a number these give the second: the sum's stays.
  sum = _mm512_min_ps(_mm512_set1_ps(ending.high), _mm512_max_ps(_mm512_set1_ps(ending.low), sum));
  if (ending.gating == gate::none) return sum;
  const auto six = _mm512_set1_ps(6.0F);
  auto part = _mm512_add_ps(sum, _mm512_set1_ps(3.0F));
  part = _mm512_div_ps(_mm512_min_ps(six, _mm512_max_ps(_mm512_setzero_ps(), part)), six);
  return ending.gating == gate::hardswish ? _mm512_mul_ps(sum, part) : part;
}

SHOAL_AVX512 void write(__m512 sum, const convolution_ending& ending, float* output, std::int64_t at, __mmask16 mask) {
  if (ending.residual != nullptr) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, ending.residual + at));
  _mm512_mask_storeu_ps(output + at, mask, finish(sum, ending));
}

SHOAL_AVX512 __mmask16 mask_of(std::int64_t left) {
  return left >= lanes ? __mmask16{0xFFFF} : left <= 0 ? __mmask16{0} : static_cast<__mmask16>((1U << left) - 1U);
}

/// One tile: `pixels` output pixels by Vectors * 16 output channels.
template <int Vectors>
SHOAL_AVX512 void dense_tile(const convolution_shape& shape, const float* const* taps, const float* weight,
                             const convolution_ending& ending, std::int64_t channel, std::int64_t pixel, int valid,
                             float* output) {
  __m512 sums[pixels][Vectors];
  for (int v = 0; v < Vectors; ++v) {
    const auto mask = mask_of(shape.out_channels - channel - v * lanes);
    const auto start =
        ending.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, ending.bias + channel + v * lanes);
    for (int p = 0; p < pixels; ++p) sums[p][v] = start;
  }
  const auto count = taps_of(shape);
  for (std::int64_t tap = 0; tap < count; ++tap, taps += pixels) {
    const float* const row[pixels] = {taps[0], taps[1], taps[2], taps[3], taps[4], taps[5], taps[6], taps[7]};
    for (std::int64_t in = 0; in < shape.in_channels; ++in, weight += Vectors * lanes) {
      __m512 factor[Vectors];
      for (int v = 0; v < Vectors; ++v) factor[v] = _mm512_loadu_ps(weight + v * lanes);
#pragma GCC unroll 8
      for (int p = 0; p < pixels; ++p) {
        const auto value = _mm512_set1_ps(row[p][in]);
        for (int v = 0; v < Vectors; ++v) sums[p][v] = _mm512_fmadd_ps(value, factor[v], sums[p][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    if (p >= valid) break;
    for (int v = 0; v < Vectors; ++v)
      write(sums[p][v], ending, output, (pixel + p) * shape.out_channels + channel + v * lanes,
            mask_of(shape.out_channels - channel - v * lanes));
  }
}

SHOAL_AVX512_ENTRY void convolve_dense(const convolution_shape& shape, const float* input, const float* packed,
                                       const float* zeros, const convolution_ending& ending, float* output) {
  const float* taps[most_pointers];
  const auto per_tile = taps_of(shape) * pixels;
  const auto tiles = most_pointers / per_tile < chunk_tiles ? most_pointers / per_tile : chunk_tiles;
  const auto all = shape.batch * shape.out_height * shape.out_width;
  tap_pointers pointers(shape, input, zeros);
  for (std::int64_t first = 0; first < all; first += tiles * pixels) {
    const auto last = all - first < tiles * pixels ? all : first + tiles * pixels;
    for (std::int64_t pixel = first; pixel < last; pixel += pixels)
      pointers.next(last - pixel < pixels ? static_cast<int>(last - pixel) : pixels,
                    taps + (pixel - first) / pixels * per_tile);
    const auto* weight = packed;
    for (std::int64_t channel = 0; channel < shape.out_channels; channel += wide) {
      const auto width = block_width(shape, channel);
      for (std::int64_t pixel = first; pixel < last; pixel += pixels) {
        const auto* from = taps + (pixel - first) / pixels * per_tile;
        const int valid = last - pixel < pixels ? static_cast<int>(last - pixel) : pixels;
        if (width == wide)
          dense_tile<2>(shape, from, weight, ending, channel, pixel, valid, output);
        else
          dense_tile<1>(shape, from, weight, ending, channel, pixel, valid, output);
      }
      weight += taps_of(shape) * shape.in_channels * width;
    }
  }
}

SHOAL_AVX512_ENTRY void convolve_depthwise(const convolution_shape& shape, const float* input, const float* weight,
                                           const float* zeros, const convolution_ending& ending, float* output) {
  const float* taps[most_pointers];
  const auto channels = shape.out_channels;
  const auto count = taps_of(shape);
  const auto all = shape.batch * shape.out_height * shape.out_width;
  tap_pointers pointers(shape, input, zeros);
  for (std::int64_t pixel = 0; pixel < all; pixel += pixels) {
    const int valid = all - pixel < pixels ? static_cast<int>(all - pixel) : pixels;
    pointers.next(valid, taps);
    for (std::int64_t channel = 0; channel < channels; channel += lanes) {
      const auto mask = mask_of(channels - channel);
      const auto start =
          ending.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, ending.bias + channel);
      __m512 sums[pixels] = {start, start, start, start, start, start, start, start};
      for (std::int64_t tap = 0; tap < count; ++tap) {
        const auto factor = _mm512_maskz_loadu_ps(mask, weight + tap * channels + channel);
#pragma GCC unroll 8
        for (int p = 0; p < pixels; ++p)
          sums[p] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, taps[tap * pixels + p] + channel), factor, sums[p]);
      }
#pragma GCC unroll 8
      for (int p = 0; p < pixels; ++p) {
        if (p >= valid) break;
        write(sums[p], ending, output, (pixel + p) * channels + channel, mask);
      }
    }
  }
}

}  // namespace

bool has_convolution_kernels() noexcept { return __builtin_cpu_supports("avx512f"); }

void convolve(const convolution_shape& shape, const float* input, const float* packed, const float* zeros,
              const convolution_ending& ending, float* output) noexcept {
  if (shape.is_depthwise)
    convolve_depthwise(shape, input, packed, zeros, ending, output);
  else
    convolve_dense(shape, input, packed, zeros, ending, output);
}

#else

bool has_convolution_kernels() noexcept { return false; }

void convolve(const convolution_shape&, const float*, const float*, const float*, const convolution_ending&,
              float*) noexcept {}

#endif

}  // namespace shoal::executor
