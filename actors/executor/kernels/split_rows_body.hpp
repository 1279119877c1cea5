// fp32 rows as whole numbers of 23 bits, each in three bytes, so that products with bytes of weights are made by the
// instruction for bytes: three of it do what else takes four shifts, conversions and multiplications each. With few
// rows that is the difference between waiting for weights and for arithmetic.
//
// A row's numbers are round(x / step), step = its largest magnitude / (2^22 - 2): an element is off by at most 2^-23 of
// that, about what a sum in fp32 loses anyway. With 2^22 added they are within 0 .. 2^23 - 1 and come apart as
// high * 65536 + middle * 256 + low; the addition is taken back by the columns' sums of weights. Layout: three planes
// of quantised_width bytes, the high ones first, then a line with row_numbers, whose zero is not used.
#pragma once

#include "executor/kernels/int8_weight_body.hpp"

namespace shoal::kernels {
namespace {

constexpr int planes = 3;

void split_row(const float* x, std::int64_t width, std::uint8_t* to) {
  const auto padded = quantised_width(width);
  const auto range = range_of(x, nullptr, width);
  const float most = range.most > -range.least ? range.most : -range.least;
  row_numbers numbers;
  float inverse = 0;
  if (!range.finite) {
    numbers.scale = __builtin_nanf("");
  } else if (most > 1e-31F) {  // below, the step would be denormal
    numbers.scale = most / 4194302.0F;
    inverse = 1.0F / numbers.scale;
  }
  // The sum's last 23 bits are the number with 2^22 added.
  const auto store_planes = [&](std::int64_t at, integers bits) {
    store_bytes(to + at, (bits >> 16) & 0x7F);
    store_bytes(to + padded + at, (bits >> 8) & 0xFF);
    store_bytes(to + 2 * padded + at, bits & 0xFF);
  };
  const auto whole = width / lanes * lanes;
  for (std::int64_t c = 0; c < whole; c += lanes)
    store_planes(c, reinterpret_cast<integers>(load(x + c) * inverse + rounding));
  if (whole < width) {
    float rest[lanes] = {};
    for (auto c = whole; c < width; ++c) rest[c - whole] = x[c];
    store_planes(whole, reinterpret_cast<integers>(load(rest) * inverse + rounding));
  }
  // What is beyond meets weights of 0, but is read.
  const auto written = (width + lanes - 1) / lanes * lanes;
  for (int plane = 0; plane < planes; ++plane)
    for (auto c = written; c < padded; ++c) to[plane * padded + c] = 0;
  __builtin_memset(to + planes * padded, 0, quantised_tail);
  __builtin_memcpy(to + planes * padded, &numbers, sizeof numbers);
}

struct split_product : rows_product<split_product, std::uint8_t, sum_vectors / planes> {
  static constexpr int widest = widest_tile;
  static constexpr std::int64_t rows_of_widest = 3 * height(widest);
  int8_weight weight;

  split_product(const std::uint8_t* rows, std::int64_t stride, const int8_weight& by)
      : rows_product{rows, stride}, weight(by) {}

  // Inlined, all tiles are one function with more loops than GCC 12 allocates registers for: sums go through memory.
  template <int Rows, int Panels>
  __attribute__((noinline)) void tile(const std::uint8_t* rows, std::int64_t panel, float* y, std::int64_t y_stride,
                                      const float* bias) const {
    constexpr int width = Panels * panel_vectors;
    integers sum[Rows * planes][width];
#pragma GCC unroll 32
    for (int r = 0; r < Rows * planes; ++r)
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c) sum[r][c] = integers{};
    const std::uint8_t* from = weight.panels + panel * weight.panel_bytes;
    const auto distance = weight.panel_bytes;
    const auto stride = x_stride;
    const auto inner = weight.inner;
    const auto plane = quantised_width(inner);
    for (std::int64_t k = 0; k < inner; k += 4) {
      bytes right[width];
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c)
        right[c] = signed_bytes(
            load_integers(from + (c / panel_vectors) * distance + (c % panel_vectors) * SHOAL_VECTOR_BYTES));
#pragma GCC unroll 32
      for (int r = 0; r < Rows * planes; ++r) {
        const bytes left = unsigned_bytes(spread(rows + r / planes * stride + r % planes * plane + k));
#pragma GCC unroll 8
        for (int c = 0; c < width; ++c) add_products(sum[r][c], left, right[c]);
      }
      from += 4 * panel_width;
    }
    const float* scales = weight.scales + panel * panel_width;
    const float* offsets = weight.offsets + panel * panel_width;
    integers sums_of_columns[width];
#pragma GCC unroll 8
    for (int c = 0; c < width; ++c) {
      const vector scale = load(scales + c * lanes);
      const vector sums = load(offsets + c * lanes) / scale;
      const vector half = sums < 0.0F ? all(-0.5F) : all(0.5F);
      sums_of_columns[c] = scale > 0.0F ? __builtin_convertvector(sums + half, integers) : integers{};
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      row_numbers numbers;
      __builtin_memcpy(&numbers, rows + r * stride + planes * plane, sizeof numbers);
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c) {
        // 2^22 is 64 of the high plane.
        const integers high = sum[r * planes][c] - sums_of_columns[c] * 64;
        const vector rest = to_floats(sum[r * planes + 1][c]) * 256.0F + to_floats(sum[r * planes + 2][c]);
        const vector whole = to_floats(high) * 65536.0F + rest;
        const vector begin = bias == nullptr ? vector{} : load(bias + c * lanes);
        store(y + r * y_stride + c * lanes, fused(whole, load(scales + c * lanes) * numbers.scale, begin));
      }
    }
  }
};

void int8_weight_linear_block(const int8_weight_linear_task& task, std::int64_t first_row, std::int64_t last_row,
                              std::int64_t first_panel, std::int64_t last_panel, float* scratch) {
  const int8_weight weight(task.packed, task.columns, task.inner);
  if constexpr (!multiplies_bytes) {
    widened_linear_block(task, weight, first_row, last_row, first_panel, last_panel);
  } else {
    const auto bytes = split_row_bytes(task.inner);
    const auto block = rows_in_block(bytes);
    auto* split = reinterpret_cast<std::uint8_t*>(scratch);
    for (auto row = first_row; row < last_row; row += block) {
      const auto rows = last_row - row < block ? last_row - row : block;
      for (std::int64_t r = 0; r < rows; ++r)
        split_row(task.x + (row + r) * task.x_stride, task.inner, split + r * bytes);
      fill_panels(split_product(split, bytes, weight), rows_of_result(task, row, rows), first_panel, last_panel);
    }
  }
}

}  // namespace
}  // namespace shoal::kernels
