// Linear layers in bf16: rows are rounded once per block, weights were when they were packed, sums are fp32.
#pragma once

#include "executor/kernels/panels_body.hpp"
#include "executor/kernels/products.hpp"

namespace shoal::kernels {
namespace {

inline void round_row(const float* x, std::int64_t width, std::uint16_t* to) {
  const auto whole = width / lanes * lanes;
  for (std::int64_t c = 0; c < whole; c += lanes) store_bf16(to + c, load(x + c));
  for (auto c = whole; c < width; ++c) to[c] = static_cast<std::uint16_t>(bf16_bits(all(x[c]))[0]);
  if (width % 2 != 0) to[width] = 0;
}

struct bf16_product : rows_product<bf16_product, std::uint16_t, lanes == 16 ? 24 : 8> {
  const std::uint16_t* panels;
  std::int64_t inner;     ///< even
  std::int64_t distance;  ///< of panels, in elements

  bf16_product(const std::uint16_t* rows, std::int64_t stride, const std::uint16_t* packed, std::int64_t even,
               std::int64_t panel_elements)
      : rows_product{rows, stride}, panels(packed), inner(even), distance(panel_elements) {}

  template <int Rows, int Panels>
  void tile(const std::uint16_t* rows, std::int64_t panel, float* y, std::int64_t y_stride, const float* bias) const {
    constexpr int width = Panels * panel_vectors;
    vector sum[Rows][width];
#pragma GCC unroll 32
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c) sum[r][c] = vector{};
    const auto apart = distance;
    const auto stride = x_stride;
    const auto size = inner;
    const std::uint16_t* from = panels + panel * apart;
    for (std::int64_t k = 0; k < size; k += 2) {
      integers right[width];
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c)
        right[c] = load_integers(from + (c / panel_vectors) * apart + (c % panel_vectors) * lanes * 2);
#pragma GCC unroll 32
      for (int r = 0; r < Rows; ++r) {
        const integers left = spread(rows + r * stride + k);
#pragma GCC unroll 8
        for (int c = 0; c < width; ++c) add_bf16_products(sum[r][c], left, right[c]);
      }
      from += 2 * panel_width;
    }
#pragma GCC unroll 32
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c) {
        const vector begin = bias == nullptr ? vector{} : load(bias + c * lanes);
        store(y + r * y_stride + c * lanes, sum[r][c] + begin);
      }
  }
};

void bf16_linear_block(const bf16_linear_task& task, std::int64_t first_row, std::int64_t last_row,
                       std::int64_t first_panel, std::int64_t last_panel, std::uint16_t* scratch) {
  const auto even = bf16_width(task.inner);
  const auto stride = bf16_row_elements(task.inner);
  const auto block = rows_in_block(stride * 2);
  for (auto row = first_row; row < last_row; row += block) {
    const auto rows = last_row - row < block ? last_row - row : block;
    for (std::int64_t r = 0; r < rows; ++r)
      round_row(task.x + (row + r) * task.x_stride, task.inner, scratch + r * stride);
    auto result = rows_of_result(task, row, rows);
    result.after = rough(task.after);
    fill_panels(bf16_product(scratch, stride, task.packed, even, even * panel_width), result, first_panel, last_panel);
  }
}

}  // namespace
}  // namespace shoal::kernels
