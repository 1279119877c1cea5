// Attention of one head with queries, keys, weights and values rounded to bf16; scores, their exponentials and sums are
// fp32, as in attention_body.hpp.
#pragma once

#include "executor/kernels/attention_body.hpp"
#include "executor/kernels/bf16_body.hpp"

namespace shoal::kernels {
namespace {

/// Rows of a head lie a whole token apart, which no prefetcher of the processor follows.
inline void fetch_row(const float* row, std::int64_t depth) {
  for (std::int64_t d = 0; d < depth; d += 16) __builtin_prefetch(row + d);
}
constexpr std::int64_t rows_ahead = 12;

/// Keys as the weights of the scores: pairs along the depth, 16 keys a panel; those beyond are 0.
void pack_bf16_keys(const attention_task& task, std::uint16_t* to) {
  using pair = std::uint32_t __attribute__((may_alias));
  alignas(64) std::uint16_t row[most_bf16_depth];
  const auto pairs = task.depth / 2;
  for (std::int64_t first = 0; first < task.keys; first += panel_width) {
    for (std::int64_t c = 0; c < panel_width; ++c) {
      fetch_row(task.k + (first + c + rows_ahead) * task.k_stride, task.depth);
      fetch_row(task.v + (first + c) * task.v_stride, task.depth);
      if (first + c < task.keys)
        round_row(task.k + (first + c) * task.k_stride, task.depth, row);
      else
        __builtin_memset(row, 0, sizeof row);
      for (std::int64_t g = 0; g < pairs; ++g)
        reinterpret_cast<pair*>(to)[g * panel_width + c] = reinterpret_cast<const pair*>(row)[g];
    }
    to += task.depth * panel_width;
  }
}

/// Values as what the weights mix: pairs along the keys, 16 of the depth a panel.
void pack_bf16_values(const attention_task& task, std::int64_t padded, std::uint16_t* to) {
  for (std::int64_t column = 0; column < task.depth; column += panel_width)
    for (std::int64_t key = 0; key < padded; key += 2) {
      for (std::int64_t c = 0; c < panel_width; c += lanes) {
        const float* from = task.v + key * task.v_stride + column + c;
        const integers even = key < task.keys ? bf16_bits(load(from)) : integers{};
        const integers odd = key + 1 < task.keys ? bf16_bits(load(from + task.v_stride)) : integers{};
        const integers both = even | (odd << 16);
        __builtin_memcpy(to + 2 * c, &both, sizeof both);
      }
      to += 2 * panel_width;
    }
}

void bf16_panels(const bf16_product& of, std::int64_t panels, float* y, std::int64_t y_stride, std::int64_t rows) {
  std::int64_t panel = 0;
  if constexpr (bf16_product::widest >= 2)
    for (; panel + 2 <= panels; panel += 2) of.fill<2>(panel, rows, y + panel * panel_width, y_stride, nullptr);
  for (; panel < panels; ++panel) of.fill<1>(panel, rows, y + panel * panel_width, y_stride, nullptr);
}

/// As weigh of attention_body.hpp, rounded to bf16 on the way.
float weigh_bf16(const float* scores, std::int64_t padded, float top, std::uint16_t* to) {
  const float shift = top == minus_infinity ? 0.0F : top;
  vector sums = {};
  for (std::int64_t c = 0; c < padded; c += lanes) {
    const vector weight = exponential_rough(load(scores + c) - shift);
    store_bf16(to + c, weight);
    sums += weight;
  }
  const float total = sum(sums);
  return total == 0.0F ? 0.0F : 1.0F / total;
}

void attend_bf16(const attention_task& task) {
  const auto all_padded = (task.keys + panel_width - 1) / panel_width * panel_width;
  const auto query_stride = bf16_row_elements(task.depth);
  const auto weight_stride = bf16_row_elements(all_padded);
  float* scores = task.scratch;
  auto* keys = reinterpret_cast<std::uint16_t*>(scores + attention_rows * all_padded);
  auto* values = keys + all_padded * task.depth;
  auto* queries = values + all_padded * task.depth;
  auto* weights = queries + attention_rows * query_stride;
  pack_bf16_keys(task, keys);
  pack_bf16_values(task, all_padded, values);
  for_queries(
      task, scores,
      [&](std::int64_t query, std::int64_t rows, std::int64_t panels, std::int64_t padded) {
        for (std::int64_t r = 0; r < rows; ++r) {
          fetch_row(task.q + (query + r + rows_ahead) * task.q_stride, task.depth);
          round_row(task.q + (query + r) * task.q_stride, task.depth, queries + r * query_stride);
        }
        bf16_panels({queries, query_stride, keys, task.depth, task.depth * panel_width}, panels, scores, padded, rows);
      },
      [&](std::int64_t r, std::int64_t padded, float top) {
        return weigh_bf16(scores + r * padded, padded, top, weights + r * weight_stride);
      },
      [&](std::int64_t, std::int64_t seen, float* out, std::int64_t rows) {
        bf16_panels({weights, weight_stride, values, bf16_width(seen), all_padded * panel_width},
                    task.depth / panel_width, out, task.out_stride, rows);
      });
}

}  // namespace
}  // namespace shoal::kernels
