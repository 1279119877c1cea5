// Attention of one head in tiles: keys are packed like weights (they are the weights of the scores), values are read
// where they lie, since their rows are what a tile's right side is.
#pragma once

namespace shoal::kernels {
namespace {

constexpr float minus_infinity = -__builtin_inff();

/// Columns [keys, padded) become -infinity and so weigh nothing.
void add_mask(const attention_task& task, std::int64_t query, float* scores, std::int64_t padded) {
  for (std::int64_t c = 0; c < padded; c += lanes) store(scores + c, load(scores + c) * task.scale);
  if (task.mask != nullptr) {
    const float* mask = task.mask + query * task.mask_row_stride;
    if (task.mask_column_stride == 1) {
      const auto whole = task.keys / lanes * lanes;
      for (std::int64_t c = 0; c < whole; c += lanes) store(scores + c, load(scores + c) + load(mask + c));
      for (auto c = whole; c < task.keys; ++c) scores[c] += mask[c];
    } else {
      for (std::int64_t c = 0; c < task.keys; ++c) scores[c] += mask[c * task.mask_column_stride];
    }
  }
  const auto seen = task.causal && query + 1 < task.keys ? query + 1 : task.keys;
  for (auto c = seen; c < padded; ++c) scores[c] = minus_infinity;
}

/// In place; a row that sees no key becomes 0, as PyTorch has it. Returns nothing to divide by later.
void softmax(float* scores, std::int64_t padded) {
  vector most = all(minus_infinity);
  for (std::int64_t c = 0; c < padded; c += lanes) {
    const vector value = load(scores + c);
    most = value > most ? value : most;
  }
  const float top = largest(most);
  const float shift = top == minus_infinity ? 0.0F : top;
  vector sums = {};
  for (std::int64_t c = 0; c < padded; c += lanes) {
    const vector weight = exponential(load(scores + c) - shift);
    store(scores + c, weight);
    sums += weight;
  }
  const float total = sum(sums);
  const float scale = total == 0.0F ? 0.0F : 1.0F / total;
  for (std::int64_t c = 0; c < padded; c += lanes) store(scores + c, load(scores + c) * scale);
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

void attend(const attention_task& task) {
  const auto panels = (task.keys + panel_width - 1) / panel_width;
  const auto padded = panels * panel_width;
  float* keys = task.scratch;
  float* scores = keys + padded * task.depth;
  pack_keys(task, keys);
  for (std::int64_t query = 0; query < task.queries; query += attention_rows) {
    const auto rows = task.queries - query < attention_rows ? task.queries - query : attention_rows;
    product(task.q + query * task.q_stride, task.q_stride, {keys, panel_width, task.depth * panel_width}, task.depth,
            panels, scores, padded, rows);
    for (std::int64_t r = 0; r < rows; ++r) {
      add_mask(task, query + r, scores + r * padded, padded);
      softmax(scores + r * padded, padded);
    }
    product(scores, padded, {task.v, task.v_stride, panel_width}, task.keys, task.depth / panel_width,
            task.out + query * task.out_stride, task.out_stride, rows);
  }
}

}  // namespace
}  // namespace shoal::kernels
