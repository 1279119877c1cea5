// Attention of one query, as a decoder has it for each token: what it takes is the reading of keys and values, so they
// are read once and where they lie. (Tiles would have the keys packed first, which reads and writes them once more.)
#pragma once

#include "executor/kernels/attention_body.hpp"

namespace shoal::kernels {
namespace {

/// Scores of `keys` keys; each is one chain over the depth.
void scores_of_one(const float* q, const float* k, std::int64_t stride, std::int64_t keys, std::int64_t depth,
                   float* scores) {
  std::int64_t key = 0;
  for (; key + 4 <= keys; key += 4) {
    vector products[4] = {};
    for (std::int64_t d = 0; d < depth; d += lanes) {
      const vector left = load(q + d);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) products[i] += left * load(k + (key + i) * stride + d);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) scores[key + i] = sum(products[i]);
  }
  for (; key < keys; ++key) {
    vector product = {};
    for (std::int64_t d = 0; d < depth; d += lanes) product += load(q + d) * load(k + key * stride + d);
    scores[key] = sum(product);
  }
}

/// out[columns * lanes] += weights * v, or = where `begins`.
template <int Columns>
void mix_columns(const float* weights, const float* v, std::int64_t stride, std::int64_t keys, bool begins,
                 float* out) {
  vector sums[Columns];
#pragma GCC unroll 8
  for (int c = 0; c < Columns; ++c) sums[c] = begins ? vector{} : load(out + c * lanes);
  for (std::int64_t key = 0; key < keys; ++key) {
#pragma GCC unroll 8
    for (int c = 0; c < Columns; ++c) sums[c] += weights[key] * load(v + key * stride + c * lanes);
  }
#pragma GCC unroll 8
  for (int c = 0; c < Columns; ++c) store(out + c * lanes, sums[c]);
}

void mix_of_one(const float* weights, const float* v, std::int64_t stride, std::int64_t keys, std::int64_t depth,
                bool begins, float* out) {
  std::int64_t d = 0;
  for (; d + 4 * lanes <= depth; d += 4 * lanes) mix_columns<4>(weights, v + d, stride, keys, begins, out + d);
  for (; d < depth; d += lanes) mix_columns<1>(weights, v + d, stride, keys, begins, out + d);
}

void attend_of_one(const attention_task& task) {
  const auto held = task.keys - task.added;
  const auto padded = (task.keys + panel_width - 1) / panel_width * panel_width;
  float* scores = task.scratch;
  scores_of_one(task.q, task.k, task.k_stride, held, task.depth, scores);
  scores_of_one(task.q, task.added_k, task.added_k_stride, task.added, task.depth, scores + held);
  const float top = masked_scores(task, 0, task.keys, scores, padded);
  const float scale = weigh(scores, padded, top);
  mix_of_one(scores, task.v, task.v_stride, held, task.depth, true, task.out);
  mix_of_one(scores + held, task.added_v, task.added_v_stride, task.added, task.depth, false, task.out);
  for (std::int64_t d = 0; d < task.depth; d += lanes) store(task.out + d, load(task.out + d) * scale);
}

}  // namespace
}  // namespace shoal::kernels
