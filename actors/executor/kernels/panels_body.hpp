// A linear layer panel by panel, whatever its numbers are: a product fills whole panels of y, bias included, then
// activation and residual follow while they are in the cache.
//
// A product is a type with `template <int Panels> void fill(panel, rows, y, y_stride, bias) const` (the result of
// `rows` rows from its first one on, for the panels [panel, panel + Panels); bias is theirs or null) and `static
// constexpr int widest`, its most panels.
#pragma once

#include "executor/kernels/linear_body.hpp"

namespace shoal::kernels {
namespace {

template <int Panels, class Product>
void whole_panels_of(const Product& product, const linear_result& to, std::int64_t panel) {
  const auto column = panel * panel_width;
  float* y = to.y + column;
  product.template fill<Panels>(panel, to.rows, y, to.y_stride, to.bias == nullptr ? nullptr : to.bias + column);
  finish(to.after, y, to.y_stride, to.rows, Panels * panel_width, nullptr,
         to.residual == nullptr ? nullptr : to.residual + column, to.residual_stride);
}

/// The last panel when it is not full: through a whole panel on the stack.
template <class Product>
void part_of_panel(const Product& product, const linear_result& to, std::int64_t panel) {
  const auto column = panel * panel_width;
  const auto columns = to.columns - column;
  alignas(64) float y[row_block * panel_width];
  alignas(64) float residual[row_block * panel_width] = {};
  alignas(64) float bias[panel_width] = {};
  if (to.bias != nullptr) copy_rows(to.bias + column, 0, bias, 0, 1, columns);
  product.template fill<1>(panel, to.rows, y, panel_width, bias);
  if (to.residual != nullptr)
    copy_rows(to.residual + column, to.residual_stride, residual, panel_width, to.rows, columns);
  finish(to.after, y, panel_width, to.rows, panel_width, nullptr, to.residual == nullptr ? nullptr : residual,
         panel_width);
  copy_rows(y, panel_width, to.y + column, to.y_stride, to.rows, columns);
}

/// Panels [first, last) of at most row_block rows.
template <class Product>
void fill_panels(const Product& product, const linear_result& to, std::int64_t first, std::int64_t last) {
  const auto full = to.columns / panel_width < last ? to.columns / panel_width : last;
  auto panel = first;
  // More streams of weights come faster from memory; with few rows that is what counts.
  if constexpr (Product::widest >= 4)
    if (to.rows <= Product::rows_of_widest)
      for (; panel + 4 <= full; panel += 4) whole_panels_of<4>(product, to, panel);
  if constexpr (Product::widest >= 2)
    for (; panel + 2 <= full; panel += 2) whole_panels_of<2>(product, to, panel);
  for (; panel < full; ++panel) whole_panels_of<1>(product, to, panel);
  if (panel < last) part_of_panel(product, to, panel);
}

/// Calls tile(rows, from) for tiles of about equal height, at most `most` rows.
template <class Tile>
void in_tiles(std::int64_t rows, std::int64_t most, Tile&& tile) {
  std::int64_t row = 0;
  for (auto left = (rows + most - 1) / most; left > 0; --left) {
    const auto height = (rows - row + left - 1) / left;
    tile(height, row);
    row += height;
  }
}

/// The part of a product that is the same for all: rows of `Number`, cut into the tiles that registers hold. `Sums`:
/// how many vectors of sums that is.
template <class Product, class Number, int Sums>
struct rows_product {
  static constexpr int widest = lanes != 16 ? 1 : Sums >= 24 ? 4 : 2;
  static constexpr int height(int panels) {
    return Sums / (panels * panel_vectors) < 1 ? 1 : Sums / (panels * panel_vectors);
  }
  static constexpr std::int64_t rows_of_widest = 3 * height(widest);

  const Number* x;
  std::int64_t x_stride;

  template <int Panels>
  void fill(std::int64_t panel, std::int64_t rows, float* y, std::int64_t y_stride, const float* bias) const {
    in_tiles(rows, height(Panels), [&](std::int64_t tall, std::int64_t row) {
      tile_of<Panels, height(Panels)>(tall, x + row * x_stride, panel, y + row * y_stride, y_stride, bias);
    });
  }

 private:
  template <int Panels, int Rows>
  void tile_of(std::int64_t rows, const Number* from, std::int64_t panel, float* y, std::int64_t y_stride,
               const float* bias) const {
    if (rows == Rows)
      return static_cast<const Product&>(*this).template tile<Rows, Panels>(from, panel, y, y_stride, bias);
    if constexpr (Rows > 1) tile_of<Panels, Rows - 1>(rows, from, panel, y, y_stride, bias);
  }
};

/// The result of `rows` rows of the task from `row` on, as a result of its own.
inline linear_result rows_of_result(const linear_result& all, std::int64_t row, std::int64_t rows) {
  auto part = all;
  part.y += row * all.y_stride;
  if (part.residual != nullptr) part.residual += row * all.residual_stride;
  part.rows = rows;
  return part;
}

}  // namespace
}  // namespace shoal::kernels
