// The packed linear: blocks for the caches around the tiles, and what follows the product.
#pragma once

#include "executor/kernels/tiles.hpp"

namespace shoal::kernels {
namespace {

template <activation After>
vector activated(vector value) {
  if constexpr (After == activation::relu) return at_least(value, 0.0F);
  if constexpr (After == activation::gelu) return gelu(value);
  if constexpr (After == activation::gelu_tanh) return gelu_tanh(value);
  if constexpr (After == activation::silu) return silu(value);
  if constexpr (After == activation::gelu_rough) return gelu_rough(value);
  if constexpr (After == activation::gelu_tanh_rough) return gelu_tanh_rough(value);
  return value;
}

template <activation After>
void finish_rows(float* y, std::int64_t y_stride, std::int64_t rows, std::int64_t columns, const float* bias,
                 const float* residual, std::int64_t residual_stride) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float* to = y + r * y_stride;
    const float* added = residual == nullptr ? nullptr : residual + r * residual_stride;
    for (std::int64_t c = 0; c < columns; c += lanes) {
      vector value = load(to + c);
      if (bias != nullptr) value += load(bias + c);
      value = activated<After>(value);
      if (added != nullptr) value += load(added + c);
      store(to + c, value);
    }
  }
}

/// y of whole panels: bias, activation, residual.
void finish(activation after, float* y, std::int64_t y_stride, std::int64_t rows, std::int64_t columns,
            const float* bias, const float* residual, std::int64_t residual_stride) {
  switch (after) {
    case activation::none:
      if (bias == nullptr && residual == nullptr) return;
      return finish_rows<activation::none>(y, y_stride, rows, columns, bias, residual, residual_stride);
    case activation::relu:
      return finish_rows<activation::relu>(y, y_stride, rows, columns, bias, residual, residual_stride);
    case activation::gelu:
      return finish_rows<activation::gelu>(y, y_stride, rows, columns, bias, residual, residual_stride);
    case activation::gelu_tanh:
      return finish_rows<activation::gelu_tanh>(y, y_stride, rows, columns, bias, residual, residual_stride);
    case activation::silu:
      return finish_rows<activation::silu>(y, y_stride, rows, columns, bias, residual, residual_stride);
    case activation::gelu_rough:
      return finish_rows<activation::gelu_rough>(y, y_stride, rows, columns, bias, residual, residual_stride);
    case activation::gelu_tanh_rough:
      return finish_rows<activation::gelu_tanh_rough>(y, y_stride, rows, columns, bias, residual, residual_stride);
  }
}

void copy_rows(const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride, std::int64_t rows,
               std::int64_t columns) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) to[r * to_stride + c] = from[r * from_stride + c];
}

struct block {
  const linear_task& task;
  std::int64_t row;
  std::int64_t rows;
  std::int64_t inner;  ///< first
  std::int64_t depth;
  const float* x;  ///< its first element
  std::int64_t x_stride;
  [[nodiscard]] bool is_first() const { return inner == 0; }
  [[nodiscard]] bool is_last() const { return inner + depth == task.inner; }
  [[nodiscard]] right_side weights(std::int64_t panel) const {
    const auto size = task.inner * panel_width;
    return {task.packed + panel * size + inner * panel_width, panel_width, size};
  }
};

template <int Panels>
void whole_panels(const block& in, std::int64_t panel) {
  const auto& task = in.task;
  const auto column = panel * panel_width;
  float* y = task.y + in.row * task.y_stride + column;
  tile_rows<Panels>(in.x, in.x_stride, in.weights(panel), in.depth, y, task.y_stride, !in.is_first(), in.rows);
  if (in.is_last())
    finish(task.after, y, task.y_stride, in.rows, Panels * panel_width,
           task.bias == nullptr ? nullptr : task.bias + column,
           task.residual == nullptr ? nullptr : task.residual + in.row * task.residual_stride + column,
           task.residual_stride);
}

/// The last panel when it is not full: through a whole panel on the stack.
void last_panel_of(const block& in, std::int64_t panel) {
  const auto& task = in.task;
  const auto column = panel * panel_width;
  const auto columns = task.columns - column;
  alignas(64) float y[row_block * panel_width];
  alignas(64) float residual[row_block * panel_width];
  alignas(64) float bias[panel_width] = {};
  float* to = task.y + in.row * task.y_stride + column;
  if (!in.is_first()) copy_rows(to, task.y_stride, y, panel_width, in.rows, columns);
  for (std::int64_t r = 0; r < in.rows && !in.is_first(); ++r)
    for (auto c = columns; c < panel_width; ++c) y[r * panel_width + c] = 0;
  tile_rows<1>(in.x, in.x_stride, in.weights(panel), in.depth, y, panel_width, !in.is_first(), in.rows);
  if (in.is_last()) {
    if (task.bias != nullptr) copy_rows(task.bias + column, 0, bias, 0, 1, columns);
    if (task.residual != nullptr)
      for (std::int64_t r = 0; r < in.rows; ++r)
        for (std::int64_t c = 0; c < panel_width; ++c)
          residual[r * panel_width + c] =
              c < columns ? task.residual[(in.row + r) * task.residual_stride + column + c] : 0.0F;
    finish(task.after, y, panel_width, in.rows, panel_width, bias, task.residual == nullptr ? nullptr : residual,
           panel_width);
  }
  copy_rows(y, panel_width, to, task.y_stride, in.rows, columns);
}

void linear_block(const linear_task& task, std::int64_t first_row, std::int64_t last_row, std::int64_t first_panel,
                  std::int64_t last_panel, float* scratch) {
  const auto full = task.columns / panel_width < last_panel ? task.columns / panel_width : last_panel;
  for (auto row = first_row; row < last_row; row += row_block) {
    const auto rows = last_row - row < row_block ? last_row - row : row_block;
    for (std::int64_t inner = 0; inner < task.inner || inner == 0; inner += inner_block) {
      const auto depth = task.inner - inner < inner_block ? task.inner - inner : inner_block;
      block in{task, row, rows, inner, depth, task.x + row * task.x_stride + inner, task.x_stride};
      if (scratch != nullptr) {
        copy_rows(in.x, in.x_stride, scratch, inner_block + panel_width, rows, depth);
        in.x = scratch;
        in.x_stride = inner_block + panel_width;
      }
      auto panel = first_panel;
      if constexpr (widest_tile == 4) {
        // Four streams of weights come faster from memory than two; with few rows that is what counts.
        if (rows <= 3 * rows_of(4))
          for (; panel + 4 <= full; panel += 4) whole_panels<4>(in, panel);
        for (; panel + 2 <= full; panel += 2) whole_panels<2>(in, panel);
      }
      for (; panel < full; ++panel) whole_panels<1>(in, panel);
      if (panel < last_panel) last_panel_of(in, panel);
    }
  }
}

}  // namespace
}  // namespace shoal::kernels
