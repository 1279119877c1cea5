// Attention of one head in tiles: keys are packed like weights (they are the weights of the scores), values are read
// where they lie, since their rows are what a tile's right side is.
#pragma once

#include "executor/kernels/tiles.hpp"

namespace shoal::kernels {
namespace {

constexpr float minus_infinity = -__builtin_inff();

/// scores * scale + mask, in place, and the largest of them. Columns [seen, padded) become -infinity and so weigh
/// nothing.
float masked_scores(const attention_task& task, std::int64_t query, std::int64_t seen, float* scores,
                    std::int64_t padded) {
  const float* mask = task.mask == nullptr ? nullptr : task.mask + query * task.mask_row_stride;
  const bool dense = task.mask_column_stride == 1;
  const auto whole = mask == nullptr || dense ? seen / lanes * lanes : 0;
  vector most = all(minus_infinity);
  for (std::int64_t c = 0; c < whole; c += lanes) {
    vector value = load(scores + c) * task.scale;
    if (mask != nullptr) value += load(mask + c);
    most = value > most ? value : most;
    store(scores + c, value);
  }
  float top = largest(most);
  for (auto c = whole; c < seen; ++c) {
    scores[c] = scores[c] * task.scale + (mask == nullptr ? 0.0F : mask[c * task.mask_column_stride]);
    top = scores[c] > top ? scores[c] : top;
  }
  for (auto c = seen; c < padded; ++c) scores[c] = minus_infinity;
  return top;
}

/// e^(score - top) in place; what to multiply by for a sum of 1: 0 for a row that sees no key, as PyTorch has it.
float weigh(float* scores, std::int64_t padded, float top) {
  const float shift = top == minus_infinity ? 0.0F : top;
  vector sums = {};
  for (std::int64_t c = 0; c < padded; c += lanes) {
    const vector weight = exponential(load(scores + c) - shift);
    store(scores + c, weight);
    sums += weight;
  }
  const float total = sum(sums);
  return total == 0.0F ? 0.0F : 1.0F / total;
}

void pack_keys(const attention_task& task, float* to) {
  for (std::int64_t first = 0; first < task.keys; first += panel_width) {
    const auto columns = task.keys - first < panel_width ? task.keys - first : panel_width;
    const float* from = task.k + first * task.k_stride;
    for (std::int64_t c = 0; c < panel_width; ++c)
      for (std::int64_t d = 0; d < task.depth; ++d)
        to[d * panel_width + c] = c < columns ? from[c * task.k_stride + d] : 0.0F;
    to += task.depth * panel_width;
  }
}

template <int Panels>
void panels_from(std::int64_t& panel, std::int64_t last, const float* x, std::int64_t x_stride, const right_side& b,
                 std::int64_t inner, float* y, std::int64_t y_stride, std::int64_t rows) {
  for (; panel + Panels <= last; panel += Panels)
    tile_rows<Panels>(x, x_stride, {b.data + panel * b.panel, b.row, b.panel}, inner, y + panel * panel_width, y_stride,
                      false, rows);
}

void product(const float* x, std::int64_t x_stride, const right_side& b, std::int64_t inner, std::int64_t panels,
             float* y, std::int64_t y_stride, std::int64_t rows) {
  std::int64_t panel = 0;
  if constexpr (widest_tile == 4) panels_from<2>(panel, panels, x, x_stride, b, inner, y, y_stride, rows);
  panels_from<1>(panel, panels, x, x_stride, b, inner, y, y_stride, rows);
}

/// Blocks of queries: `score(query, rows, panels, padded)` fills `scores`; `weigh_row(row, padded, top)` makes weights
/// of a row of them and tells what to multiply by for a sum of 1; `mix(padded, seen, out, rows)` makes the result of
/// the weights.
template <class Score, class Weigh, class Mix>
void for_queries(const attention_task& task, float* scores, const Score& score, const Weigh& weigh_row,
                 const Mix& mix) {
  for (std::int64_t query = 0; query < task.queries; query += attention_rows) {
    const auto rows = task.queries - query < attention_rows ? task.queries - query : attention_rows;
    // What the last of these queries sees bounds the work of all.
    const auto most_seen = task.causal && query + rows < task.keys ? query + rows : task.keys;
    const auto panels = (most_seen + panel_width - 1) / panel_width;
    const auto padded = panels * panel_width;
    score(query, rows, panels, padded);
    float scales[attention_rows];
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto seen = task.causal && query + r + 1 < task.keys ? query + r + 1 : task.keys;
      const float top = masked_scores(task, query + r, seen, scores + r * padded, padded);
      scales[r] = weigh_row(r, padded, top);
    }
    float* out = task.out + query * task.out_stride;
    mix(padded, most_seen, out, rows);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t d = 0; d < task.depth; d += lanes) {
        float* to = out + r * task.out_stride + d;
        store(to, load(to) * scales[r]);
      }
  }
}

void attend(const attention_task& task) {
  float* keys = task.scratch;
  const auto all_panels = (task.keys + panel_width - 1) / panel_width;
  float* scores = keys + all_panels * panel_width * task.depth;
  pack_keys(task, keys);
  for_queries(
      task, scores,
      [&](std::int64_t query, std::int64_t rows, std::int64_t panels, std::int64_t padded) {
        product(task.q + query * task.q_stride, task.q_stride, {keys, panel_width, task.depth * panel_width},
                task.depth, panels, scores, padded, rows);
      },
      [&](std::int64_t r, std::int64_t padded, float top) { return weigh(scores + r * padded, padded, top); },
      [&](std::int64_t padded, std::int64_t seen, float* out, std::int64_t rows) {
        product(scores, padded, {task.v, task.v_stride, panel_width}, seen, task.depth / panel_width, out,
                task.out_stride, rows);
      });
}

}  // namespace
}  // namespace shoal::kernels
