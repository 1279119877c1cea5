// Linear layers with int8 weights: of quantised rows (bytes times bytes), and of fp32 rows (weights widened on the
// way). Whatever the tile, a row's result is the same: whole sums are exact, and fp32 ones are one chain over the inner
// dimension.
#pragma once

#include "worker/executor/kernels/panels_body.hpp"
#include "worker/executor/kernels/products.hpp"
#include "worker/executor/kernels/quantise_body.hpp"

namespace shoal::kernels {
namespace {

/// A packed int8 weight (int8_linear.hpp) taken apart.
struct int8_weight {
  const std::uint8_t* panels;
  const float* scales;
  const float* offsets;
  std::int64_t panel_bytes;
  std::int64_t inner;

  int8_weight(const std::uint8_t* packed, std::int64_t columns, std::int64_t inner_size) : inner(inner_size) {
    const auto count = (columns + panel_width - 1) / panel_width;
    panel_bytes = (inner + 3) / 4 * 4 * panel_width;
    panels = packed;
    scales = reinterpret_cast<const float*>(packed + count * panel_bytes);
    offsets = scales + count * panel_width;
  }
};

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

struct widened_product : rows_product<widened_product, float, sum_vectors> {
  int8_weight weight;

  widened_product(const float* rows, std::int64_t stride, const int8_weight& by)
      : rows_product{rows, stride}, weight(by) {}

  template <int Rows, int Panels>
  void tile(const float* rows, std::int64_t panel, float* y, std::int64_t y_stride, const float* bias) const {
    constexpr int width = Panels * panel_vectors;
    vector sum[Rows][width];
#pragma GCC unroll 32
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c) sum[r][c] = vector{};
    const std::uint8_t* from = weight.panels + panel * weight.panel_bytes;
    const auto distance = weight.panel_bytes;
    const auto stride = x_stride;
    const auto add_column = [&](std::int64_t k, int byte) {
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c) {
        const integers four =
            load_integers(from + (c / panel_vectors) * distance + (c % panel_vectors) * SHOAL_VECTOR_BYTES);
        const vector right = to_floats((four << (24 - 8 * byte)) >> 24);
#pragma GCC unroll 32
        for (int r = 0; r < Rows; ++r) sum[r][c] += rows[r * stride + k] * right;
      }
    };
    std::int64_t k = 0;
    for (; k + 4 <= weight.inner; k += 4) {
#pragma GCC unroll 4
      for (int byte = 0; byte < 4; ++byte) add_column(k + byte, byte);
      from += 4 * panel_width;
    }
    for (int byte = 0; k + byte < weight.inner; ++byte) add_column(k + byte, byte);
    const float* scales = weight.scales + panel * panel_width;
#pragma GCC unroll 32
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c) {
        const vector begin = bias == nullptr ? vector{} : load(bias + c * lanes);
        store(y + r * y_stride + c * lanes, fused(sum[r][c], load(scales + c * lanes), begin));
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

void int8_weight_linear_block(const int8_weight_linear_task& task, std::int64_t first_row, std::int64_t last_row,
                              std::int64_t first_panel, std::int64_t last_panel) {
  const auto block = rows_in_block(task.inner * static_cast<std::int64_t>(sizeof(float)));
  const int8_weight weight(task.packed, task.columns, task.inner);
  for (auto row = first_row; row < last_row; row += block) {
    const auto rows = last_row - row < block ? last_row - row : block;
    fill_panels(widened_product(task.x + row * task.x_stride, task.x_stride, weight), rows_of_result(task, row, rows),
                first_panel, last_panel);
  }
}

}  // namespace
}  // namespace shoal::kernels
