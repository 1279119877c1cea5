// Packed int8 weights, and their product with fp32 rows where the processor has no instruction for bytes: weights are
// widened on the way. (Where it has one: split_rows_body.hpp.) Whatever the tile, a row's result is the same, one chain
// over the inner dimension.
#pragma once

#include "executor/kernels/panels_body.hpp"
#include "executor/kernels/products.hpp"
#include "executor/kernels/quantise_body.hpp"

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

void widened_linear_block(const int8_weight_linear_task& task, const int8_weight& weight, std::int64_t first_row,
                          std::int64_t last_row, std::int64_t first_panel, std::int64_t last_panel) {
  const auto block = rows_in_block(task.inner * static_cast<std::int64_t>(sizeof(float)));
  for (auto row = first_row; row < last_row; row += block) {
    const auto rows = last_row - row < block ? last_row - row : block;
    fill_panels(widened_product(task.x + row * task.x_stride, task.x_stride, weight), rows_of_result(task, row, rows),
                first_panel, last_panel);
  }
}

}  // namespace
}  // namespace shoal::kernels
