// y[Rows, Panels * 16] (+)= x * b, for every height and width of a tile that registers hold.
#pragma once

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/vector.hpp"

namespace shoal::kernels {
namespace {

constexpr int panel_vectors = panel_width / lanes;
// Sums that registers hold beside a row of the right side: of 32 registers 12 rows x 2 panels or 6 x 4; of 16 registers
// 6 x 1 panel of two vectors or 3 x 1 of four. (One row more, and the compiler spills.)
constexpr int sum_vectors = lanes == 16 ? 24 : 12;
constexpr int widest_tile = lanes == 16 ? 4 : 1;  ///< panels
constexpr int rows_of(int panels) { return sum_vectors / (panels * panel_vectors); }

/// What a tile reads of its right side: rows of the inner dimension `row` apart, panels `panel` apart.
struct right_side {
  const float* data;
  std::int64_t row;
  std::int64_t panel;
};

using tile_function = void (*)(const float* x, std::int64_t x_stride, const right_side& b, std::int64_t inner, float* y,
                               std::int64_t y_stride, bool add);

template <int Rows, int Panels>
void tile(const float* x, std::int64_t x_stride, const right_side& b, std::int64_t inner, float* y,
          std::int64_t y_stride, bool add) {
  constexpr int width = Panels * panel_vectors;
  vector sums[Rows][width];
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < width; ++c) sums[r][c] = vector{};
  const float* from = b.data;
  const std::int64_t row = b.row;
  const std::int64_t panel = b.panel;
  for (std::int64_t k = 0; k < inner; ++k) {
    vector right[width];
#pragma GCC unroll 8
    for (int c = 0; c < width; ++c) right[c] = load(from + (c / panel_vectors) * panel + (c % panel_vectors) * lanes);
#pragma GCC unroll 32
    for (int r = 0; r < Rows; ++r) {
      const float left = x[r * x_stride + k];
#pragma GCC unroll 8
      for (int c = 0; c < width; ++c) sums[r][c] += left * right[c];
    }
    from += row;
  }
#pragma GCC unroll 32
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < width; ++c) {
      float* to = y + r * y_stride + c * lanes;
      store(to, add ? load(to) + sums[r][c] : sums[r][c]);
    }
}

/// tiles<Panels>()[rows - 1].
template <int Panels>
struct tiles {
  static constexpr int most_rows = rows_of(Panels);
  tile_function with_rows[most_rows];

  constexpr tiles() : with_rows{} { fill<most_rows>(); }
  template <int Rows>
  constexpr void fill() {
    with_rows[Rows - 1] = tile<Rows, Panels>;
    if constexpr (Rows > 1) fill<Rows - 1>();
  }
};

/// The result [rows, Panels * 16], in tiles of about equal height.
template <int Panels>
void tile_rows(const float* x, std::int64_t x_stride, const right_side& b, std::int64_t inner, float* y,
               std::int64_t y_stride, bool add, std::int64_t rows) {
  static constexpr tiles<Panels> heights;
  auto left = (rows + heights.most_rows - 1) / heights.most_rows;
  for (; left > 0; --left) {
    const auto height = (rows + left - 1) / left;
    heights.with_rows[height - 1](x, x_stride, b, inner, y, y_stride, add);
    x += height * x_stride;
    y += height * y_stride;
    rows -= height;
  }
}

}  // namespace
}  // namespace shoal::kernels
