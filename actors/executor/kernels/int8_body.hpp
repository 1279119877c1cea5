// Linear layers of quantised rows and int8 weights. Whatever the tile, a row's result is the same: whole sums are
// exact.
#pragma once

#include "executor/kernels/int8_weight_body.hpp"

namespace shoal::kernels {
namespace {

// Without an instruction for bytes, weights and rows take two registers a vector.
constexpr int int8_sums = multiplies_bytes ? 24 : lanes == 16 ? 16 : 6;

struct quantised_product : rows_product<quantised_product, std::uint8_t, int8_sums> {
  int8_weight weight;

  quantised_product(const std::uint8_t* rows, std::int64_t stride, const int8_weight& by)
      : rows_product{rows, stride}, weight(by) {}

  template <int Rows, int Panels>
  void tile(const std::uint8_t* rows, std::int64_t panel, float* y, std::int64_t y_stride, const float* bias) const {
    constexpr int width = Panels * panel_vectors;
    integers sum[Rows][width];
#pragma GCC unroll 32
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c) sum[r][c] = integers{};
    const std::uint8_t* from = weight.panels + panel * weight.panel_bytes;
    const auto distance = weight.panel_bytes;
    const auto stride = x_stride;
    const auto inner = weight.inner;
    for (std::int64_t k = 0; k < inner; k += 4) {
      bytes right[width];
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c)
        right[c] = signed_bytes(
            load_integers(from + (c / panel_vectors) * distance + (c % panel_vectors) * SHOAL_VECTOR_BYTES));
#pragma GCC unroll 32
      for (int r = 0; r < Rows; ++r) {
        const bytes left = unsigned_bytes(spread(rows + r * stride + k));
#pragma GCC unroll 8
        for (int c = 0; c < width; ++c) add_products(sum[r][c], left, right[c]);
      }
      from += 4 * panel_width;
    }
    // (sum - zero * sum of weights) * scales + bias, with the sum of weights times their scale known beforehand.
    const auto tail = quantised_width(inner);
    const float* scales = weight.scales + panel * panel_width;
    const float* offsets = weight.offsets + panel * panel_width;
#pragma GCC unroll 32
    for (int r = 0; r < Rows; ++r) {
      row_numbers numbers;
      __builtin_memcpy(&numbers, rows + r * stride + tail, sizeof numbers);
      const float shift = static_cast<float>(numbers.zero) * numbers.scale;
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c) {
        const auto column = c * lanes;
        const vector begin = bias == nullptr ? vector{} : load(bias + column);
        const vector rest = fused(load(offsets + column), all(-shift), begin);
        store(y + r * y_stride + column, fused(to_floats(sum[r][c]), load(scales + column) * numbers.scale, rest));
      }
    }
  }
};

void int8_linear_block(const int8_linear_task& task, std::int64_t first_row, std::int64_t last_row,
                       std::int64_t first_panel, std::int64_t last_panel, float* scratch) {
  const auto bytes = quantised_row_bytes(task.inner);
  const auto block = rows_in_block(bytes);
  const int8_weight weight(task.packed, task.columns, task.inner);
  for (auto row = first_row; row < last_row; row += block) {
    const auto rows = last_row - row < block ? last_row - row : block;
    auto result = rows_of_result(task, row, rows);
    result.after = rough(task.after);
    if (task.quantised != nullptr) {
      result.y = scratch;
      result.y_stride = (task.columns + panel_width - 1) / panel_width * panel_width;
    }
    fill_panels(quantised_product(task.x + row * bytes, bytes, weight), result, first_panel, last_panel);
    if (task.quantised != nullptr)
      quantise_rows_of({result.y, result.y_stride, task.factors, task.columns,
                        task.quantised + row * quantised_row_bytes(task.columns)},
                       0, rows);
  }
}

}  // namespace
}  // namespace shoal::kernels
