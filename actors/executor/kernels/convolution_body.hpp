// Convolutions of narrow numbers (narrow_convolution.hpp). A tile is up to `height` pixels of the result by one or two
// panels of output channels; its sums stay in registers over all taps. Four bytes of a pixel are two bf16 or four
// bytes, so both walk alike.
#pragma once

#include "executor/kernels/bf16_body.hpp"
#include "executor/kernels/convolution_ending.hpp"
#include "executor/kernels/int8_body.hpp"

namespace shoal::kernels {
namespace {

/// How a tile walks over the image: runs of bytes that lie one after the other, in rows of the kernel.
struct tap_walk {
  std::int64_t rows;      ///< of the kernel
  std::int64_t row_step;  ///< in bytes
  std::int64_t runs;      ///< in a row
  std::int64_t run_step;
  std::int64_t run;  ///< bytes

  tap_walk(const convolution_shape& shape, std::int64_t pitch, std::int64_t pixel)
      : rows(shape.kernel_height),
        row_step(shape.dilation_height * pitch),
        runs(shape.kernel_width),
        run_step(shape.dilation_width * pixel),
        run(pixel) {
    if (shape.dilation_width != 1) return;
    run *= runs;
    runs = 1;
  }
};

struct byte_numbers {
  using sums = integers;
  static constexpr int most_sums = int8_sums;
  int8_weight weight;
  row_numbers image;

  [[nodiscard]] const std::uint8_t* panel(std::int64_t at) const { return weight.panels + at * weight.panel_bytes; }
  [[nodiscard]] std::int64_t panel_bytes() const { return weight.panel_bytes; }
  using right = bytes;
  static right weights(const void* from) { return signed_bytes(load_integers(from)); }
  using left = bytes;
  static left values(const void* from) { return unsigned_bytes(spread(from)); }
  static void add(sums& sum, const left& x, const right& by) { add_products(sum, x, by); }

  struct end {
    vector scale;
    vector rest;
    [[nodiscard]] vector of(sums sum) const { return fused(to_floats(sum), scale, rest); }
  };
  [[nodiscard]] end end_of(std::int64_t column, vector bias) const {
    const float shift = static_cast<float>(image.zero) * image.scale;
    return {load(weight.scales + column) * image.scale, fused(load(weight.offsets + column), all(-shift), bias)};
  }
};

struct half_numbers {
  using sums = vector;
  static constexpr int most_sums = lanes == 16 ? 24 : 8;
  const std::uint16_t* packed;
  std::int64_t elements;  ///< of a panel

  [[nodiscard]] const std::uint8_t* panel(std::int64_t at) const {
    return reinterpret_cast<const std::uint8_t*>(packed + at * elements);
  }
  [[nodiscard]] std::int64_t panel_bytes() const { return elements * 2; }
  using right = integers;
  static right weights(const void* from) { return load_integers(from); }
  using left = integers;
  static left values(const void* from) { return spread(from); }
  static void add(sums& sum, left x, right by) { add_bf16_products(sum, x, by); }

  struct end {
    vector bias;
    [[nodiscard]] vector of(sums sum) const { return sum + bias; }
  };
  [[nodiscard]] end end_of(std::int64_t, vector bias) const { return {bias}; }
};

/// Sums of Rows pixels by Panels panels, to `to`. A function of its own that ends with plain stores: where what follows
/// is compiled into it, GCC 12 keeps the sums in memory, which costs two thirds of the speed.
template <class Numbers, int Rows, int Panels>
[[gnu::noinline]] void convolution_sums(const Numbers& numbers, const tap_walk& walk, const std::uint8_t* const* pixels,
                                        std::int64_t panel, typename Numbers::sums* to) {
  constexpr int width = Panels * panel_vectors;
  typename Numbers::sums sum[Rows][width];
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < width; ++c) sum[r][c] = typename Numbers::sums{};
  const std::uint8_t* from = numbers.panel(panel);
  const auto distance = numbers.panel_bytes();
  const auto length = walk.run;
  for (std::int64_t h = 0; h < walk.rows; ++h)
    for (std::int64_t w = 0; w < walk.runs; ++w) {
      const auto begin = h * walk.row_step + w * walk.run_step;
      for (auto k = begin; k < begin + length; k += 4) {
        typename Numbers::right right[width];
#pragma GCC unroll 8
        for (int c = 0; c < width; ++c)
          right[c] = Numbers::weights(from + (c / panel_vectors) * distance + (c % panel_vectors) * SHOAL_VECTOR_BYTES);
#pragma GCC unroll 32
        for (int r = 0; r < Rows; ++r) {
          const auto left = Numbers::values(pixels[r] + k);
#pragma GCC unroll 8
          for (int c = 0; c < width; ++c) Numbers::add(sum[r][c], left, right[c]);
        }
        from += 4 * panel_width;
      }
    }
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < width; ++c) to[r * width + c] = sum[r][c];
}

template <class Numbers, int Rows, int Panels>
void convolution_sums_of(std::int64_t rows, const Numbers& numbers, const tap_walk& walk,
                         const std::uint8_t* const* pixels, std::int64_t panel, typename Numbers::sums* to) {
  if (rows == Rows) return convolution_sums<Numbers, Rows, Panels>(numbers, walk, pixels, panel, to);
  if constexpr (Rows > 1) convolution_sums_of<Numbers, Rows - 1, Panels>(rows, numbers, walk, pixels, panel, to);
}

template <int Panels, class Numbers>
void finish_sums(const Numbers& numbers, std::int64_t rows, std::int64_t panel, const tile_ending& ending,
                 const typename Numbers::sums* sums) {
  constexpr int width = Panels * panel_vectors;
  const auto* bias = ending.to->bias;
  const vector low = all(ending.to->low);
  const vector high = all(ending.to->high);
  ending.with_ends([&](auto added, auto kept, auto quantised) {
    const auto to = ending;  // whose members no store can change
    integers wrong = {};
    for (int c = 0; c < width; ++c) {
      const auto column = c * lanes;
      const auto left = to.columns - column;
      if (left <= 0) break;
      const auto first = panel * panel_width + column;
      const auto end = numbers.end_of(first, bias == nullptr ? vector{} : load_some(bias + first, left));
      if (left >= lanes)
        for (std::int64_t r = 0; r < rows; ++r)
          to.template write<true, added.value, kept.value, quantised.value>(end.of(sums[r * width + c]), r, column, low,
                                                                            high, wrong);
      else
        for (std::int64_t r = 0; r < rows; ++r)
          to.template write<false, added.value, kept.value, quantised.value>(end.of(sums[r * width + c]), r, column,
                                                                             low, high, wrong);
    }
    if constexpr (quantised.value) *to.bad |= wrong;
  });
}

/// The rows of the result that a part of an image gives: `image` is where the first pixel of the first row begins.
struct convolution_part {
  const std::uint8_t* image;
  std::int64_t pitch;  ///< bytes between rows of the image
  std::int64_t pixel;  ///< bytes
  std::int64_t rows;   ///< of the result
};

template <int Panels, class Numbers>
void convolve_panels(const Numbers& numbers, const convolution_shape& shape, const convolution_part& part,
                     std::int64_t panel, const tile_ending& of_part) {
  constexpr int most = Numbers::most_sums / (Panels * panel_vectors);
  constexpr int height = most < 1 ? 1 : most > 16 ? 16 : most;
  const tap_walk walk(shape, part.pitch, part.pixel);
  const auto step = shape.stride_width * part.pixel;
  auto ending = of_part;
  const auto column = panel * panel_width;
  ending.columns = shape.out_channels - column;
  in_tiles(part.rows * shape.out_width, height, [&](std::int64_t rows, std::int64_t first) {
    const std::uint8_t* pixels[height];
    auto x = first % shape.out_width;
    const auto* row = part.image + first / shape.out_width * shape.stride_height * part.pitch;
    for (std::int64_t r = 0; r < rows; ++r) {
      pixels[r] = row + x * step;
      if (++x < shape.out_width) continue;
      x = 0;
      row += shape.stride_height * part.pitch;
    }
    const auto offset = first * ending.channels + column;
    if (of_part.y != nullptr) ending.y = of_part.y + offset;
    if (of_part.residual != nullptr) ending.residual = of_part.residual + offset;
    if (of_part.quantised != nullptr) ending.quantised = of_part.quantised + first * ending.quantised_step + column;
    typename Numbers::sums sums[height * Panels * panel_vectors];
    convolution_sums_of<Numbers, height, Panels>(rows, numbers, walk, pixels, panel, sums);
    finish_sums<Panels>(numbers, rows, panel, ending, sums);
  });
}

template <class Numbers>
void convolve_part(const Numbers& numbers, const convolution_shape& shape, const convolution_part& part,
                   const tile_ending& ending) {
  const auto panels = (shape.out_channels + panel_width - 1) / panel_width;
  std::int64_t panel = 0;
  if constexpr (lanes == 16)
    for (; panel + 2 <= panels; panel += 2) convolve_panels<2>(numbers, shape, part, panel, ending);
  for (; panel < panels; ++panel) convolve_panels<1>(numbers, shape, part, panel, ending);
}

/// The rows of an image that rows [first, first + rows) of the result read, between columns of padding. `copy` writes a
/// row of the image, `fill` so many bytes that stand for 0.
template <class Copy, class Fill>
void fill_frame(const convolution_shape& shape, std::int64_t first, std::int64_t rows, std::int64_t pixel,
                std::uint8_t* to, const Copy& copy, const Fill& fill) {
  const auto beside = shape.padding_width * pixel;
  const auto width = shape.in_width * pixel;
  const auto count = (rows - 1) * shape.stride_height + (shape.kernel_height - 1) * shape.dilation_height + 1;
  const auto top = first * shape.stride_height - shape.padding_height;
  for (auto y = top; y < top + count; ++y, to += width + 2 * beside) {
    if (y < 0 || y >= shape.in_height) {
      fill(to, width + 2 * beside);
      continue;
    }
    fill(to, beside);
    copy(y, to + beside);
    fill(to + beside + width, beside);
  }
}

inline tile_ending ending_of(const convolution_result& task, std::int64_t image, std::int64_t row) {
  const auto& shape = task.shape;
  const auto offset = (image * shape.out_height + row) * shape.out_width * shape.out_channels;
  tile_ending made{};
  made.to = &task;
  made.y = task.y == nullptr ? nullptr : task.y + offset;
  made.residual = task.residual == nullptr ? nullptr : task.residual + offset;
  made.channels = shape.out_channels;
  return made;
}

bool int8_convolution_rows(const int8_convolution_task& task, std::int64_t image, std::int64_t first_row,
                           std::int64_t last_row, std::uint8_t* scratch) {
  const auto& shape = task.shape;
  const auto pixel = pixel_bytes(shape.in_channels);
  const auto row_bytes = shape.in_width * pixel;
  const auto* x = task.x + image * task.x_bytes;
  byte_numbers numbers{{task.packed, shape.out_channels, shape.kernel_height * shape.kernel_width * pixel}, {}};
  __builtin_memcpy(&numbers.image, x + shape.in_height * row_bytes, sizeof numbers.image);
  integers bad = {};
  in_tiles(last_row - first_row, convolution_frame(shape, pixel).rows, [&](std::int64_t rows, std::int64_t from) {
    const auto row = first_row + from;
    auto ending = ending_of(task, image, row);
    ending.bad = &bad;
    if (task.quantised != nullptr) {
      ending.quantised_step = pixel_bytes(shape.out_channels);
      ending.quantised = task.quantised + image * task.quantised_bytes + row * shape.out_width * ending.quantised_step;
      ending.inverse = task.numbers.scale > 0 ? 1.0F / task.numbers.scale : 0.0F;
      ending.shift = rounding + static_cast<float>(task.numbers.zero);
    }
    convolution_part part{x + row * shape.stride_height * row_bytes, row_bytes, pixel, rows};
    if (shape.padding_height != 0 || shape.padding_width != 0) {
      const auto zero = static_cast<std::uint8_t>(numbers.image.zero);
      fill_frame(
          shape, row, rows, pixel, scratch,
          [&](std::int64_t y, std::uint8_t* to) {
            __builtin_memcpy(to, x + y * row_bytes, static_cast<std::size_t>(row_bytes));
          },
          [&](std::uint8_t* to, std::int64_t count) { __builtin_memset(to, zero, static_cast<std::size_t>(count)); });
      part.image = scratch;
      part.pitch = row_bytes + 2 * shape.padding_width * pixel;
    }
    convolve_part(numbers, shape, part, ending);
  });
  int found = 0;
  for (int lane = 0; lane < lanes; ++lane) found |= bad[lane];
  return found == 0;
}

void bf16_convolution_rows(const bf16_convolution_task& task, std::int64_t image, std::int64_t first_row,
                           std::int64_t last_row, std::uint8_t* scratch) {
  const auto& shape = task.shape;
  const auto even = bf16_width(shape.in_channels);
  const auto* x = task.x + image * shape.in_height * shape.in_width * shape.in_channels;
  const half_numbers numbers{task.packed, shape.kernel_height * shape.kernel_width * even * panel_width};
  in_tiles(last_row - first_row, convolution_frame(shape, even * 2).rows, [&](std::int64_t rows, std::int64_t from) {
    const auto row = first_row + from;
    fill_frame(
        shape, row, rows, even * 2, scratch,
        [&](std::int64_t y, std::uint8_t* to) {
          const auto* values = x + y * shape.in_width * shape.in_channels;
          auto* rounded = reinterpret_cast<std::uint16_t*>(to);
          if (even == shape.in_channels) return round_row(values, shape.in_width * even, rounded);
          for (std::int64_t p = 0; p < shape.in_width; ++p)
            round_row(values + p * shape.in_channels, shape.in_channels, rounded + p * even);
        },
        [](std::uint8_t* to, std::int64_t count) { __builtin_memset(to, 0, static_cast<std::size_t>(count)); });
    const convolution_part part{scratch, (shape.in_width + 2 * shape.padding_width) * even * 2, even * 2, rows};
    convolve_part(numbers, shape, part, ending_of(task, image, row));
  });
}

}  // namespace
}  // namespace shoal::kernels
