// fp32 images to bytes, and what becomes of a convolution's sums once they are numbers: residual, limits, fp32, bytes.
#pragma once

#include <type_traits>

#include "executor/kernels/quantise_body.hpp"
#include "executor/kernels/quantised_images.hpp"

namespace shoal::kernels {
namespace {

/// Bytes of pixels, each filled up with zeros to four. True: all finite.
bool quantise_pixels_of(const quantise_pixels_task& task) {
  const float inverse = task.numbers.scale > 0 ? 1.0F / task.numbers.scale : 0.0F;
  const float shift = rounding + static_cast<float>(task.numbers.zero);
  constexpr float most = rounding + 255.0F;
  constexpr float largest_float = 3.4028234e38F;
  integers bad = {};
  const auto bytes_of = [&](vector value) {
    bad |= magnitude(value) <= largest_float ? integers{} : ~integers{};
    return reinterpret_cast<integers>(at_least(at_most(fused(value, all(inverse), all(shift)), most), rounding)) & 0xFF;
  };
  const auto padded = pixel_bytes(task.channels);
  const auto dense = [&](const float* x, std::int64_t width, std::uint8_t* to) {
    std::int64_t c = 0;
    for (; c + lanes <= width; c += lanes) store_bytes(to + c, bytes_of(load(x + c)));
    if (c == width) return;
    const auto left = static_cast<std::size_t>(width - c);
    vector rest = {};
    __builtin_memcpy(&rest, x + c, left * sizeof(float));
    const narrow made = __builtin_convertvector(bytes_of(rest), narrow);
    __builtin_memcpy(to + c, &made, left);
  };
  if (padded == task.channels) {
    dense(task.x, task.pixels * task.channels, task.to);
  } else {
    // Pixels of odd sizes first one after the other, then apart.
    constexpr std::int64_t block = 1024;
    std::uint8_t bytes[block];
    const auto at_once = task.channels > block ? 0 : block / task.channels;
    for (std::int64_t pixel = 0; at_once > 0 && pixel < task.pixels; pixel += at_once) {
      const auto count = task.pixels - pixel < at_once ? task.pixels - pixel : at_once;
      dense(task.x + pixel * task.channels, count * task.channels, bytes);
      const auto* from = bytes;
      auto* to = task.to + pixel * padded;
      for (std::int64_t p = 0; p < count; ++p)
        for (std::int64_t c = 0; c < padded; ++c) *to++ = c < task.channels ? *from++ : std::uint8_t{0};
    }
    for (std::int64_t pixel = 0; at_once == 0 && pixel < task.pixels; ++pixel) {
      dense(task.x + pixel * task.channels, task.channels, task.to + pixel * padded);
      for (auto c = task.channels; c < padded; ++c) task.to[pixel * padded + c] = 0;
    }
  }
  int found = 0;
  for (int lane = 0; lane < lanes; ++lane) found |= bad[lane];
  return found == 0;
}

/// What becomes of a tile's results: the part of a convolution's end that is the same for all numbers.
struct tile_ending {
  const convolution_result* to;
  float* y;                     ///< of the tile's first pixel and column; null: not wanted
  const float* residual;        ///< likewise
  std::uint8_t* quantised;      ///< likewise
  std::int64_t columns;         ///< from the tile's first on, of the result
  std::int64_t channels;        ///< between pixels, of y
  std::int64_t quantised_step;  ///< between pixels, of bytes
  float inverse;
  float shift;
  integers* bad;

  /// One vector of a pixel's channels. `Whole`: there are lanes of them left.
  template <bool Whole, bool Added, bool Kept, bool Quantised>
  [[gnu::always_inline]] void write(vector value, std::int64_t pixel, std::int64_t column, vector low, vector high,
                                    integers& wrong) const {
    const auto left = columns - column;
    const auto at = pixel * channels + column;
    const auto some = static_cast<std::size_t>(left) * sizeof(float);
    if constexpr (Added) {
      vector added = {};
      if constexpr (Whole)
        added = load(residual + at);
      else
        __builtin_memcpy(&added, residual + at, some);
      value += added;
    }
    // NaN stays NaN: a comparison with it is false.
    value = value < low ? low : value;
    value = value > high ? high : value;
    if constexpr (Kept && Whole) store(y + at, value);
    if constexpr (Kept && !Whole) __builtin_memcpy(y + at, &value, some);
    if constexpr (!Quantised) return;
    constexpr float most = rounding + 255.0F;
    constexpr float largest_float = 3.4028234e38F;
    wrong |= magnitude(value) <= largest_float ? integers{} : ~integers{};
    value = at_least(at_most(fused(value, all(inverse), all(shift)), most), rounding);
    const narrow made = __builtin_convertvector(reinterpret_cast<integers>(value) & 0xFF, narrow);
    auto* byte = quantised + pixel * quantised_step + column;
    if constexpr (Whole)
      __builtin_memcpy(byte, &made, sizeof made);
    else
      __builtin_memcpy(byte, &made, static_cast<std::size_t>((left + 3) / 4 * 4));
  }

  /// Calls f with which of the three ends there are, as constants.
  template <class Function>
  [[gnu::always_inline]] void with_ends(Function&& f) const {
    using yes = std::true_type;
    using no = std::false_type;
    const auto and_rest = [&](auto added) {
      if (y == nullptr)
        f(added, no{}, yes{});
      else if (quantised == nullptr)
        f(added, yes{}, no{});
      else
        f(added, yes{}, yes{});
    };
    if (residual == nullptr)
      and_rest(no{});
    else
      and_rest(yes{});
  }
};

/// A vector of a column's numbers, of which there may be fewer than lanes.
inline vector load_some(const float* from, std::int64_t left) {
  if (left >= lanes) return load(from);
  vector made = {};
  if (left > 0) __builtin_memcpy(&made, from, static_cast<std::size_t>(left) * sizeof(float));
  return made;
}

}  // namespace
}  // namespace shoal::kernels
