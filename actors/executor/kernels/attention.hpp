// Scaled dot product attention (Vaswani et al. 2017) of fp32 tensors, for sequences whose scores fit a core's caches,
// on tensors as they lie: [batch, heads, tokens, depth] in any order of the first three dimensions, depth dense.
#pragma once

#include <array>

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/parallel.hpp"

namespace shoal::kernels {

struct strided {
  const float* data = nullptr;
  std::array<std::int64_t, 3> strides{};  ///< of batch, heads, tokens; in elements
};

struct attention_sizes {
  std::int64_t batch = 0;
  std::int64_t heads = 0;
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  std::int64_t depth = 0;
};

/// An added mask, broadcast by strides of 0; no data: none.
struct attention_mask {
  const float* data = nullptr;
  std::array<std::int64_t, 4> strides{};  ///< of batch, heads, queries, keys
};

/// Keys and values after the first ones, of the same heads: for one query alone, and not causal.
struct added_keys {
  std::int64_t keys = 0;  ///< counted in attention_sizes::keys
  strided k;
  strided v;
};

/// Keys that the scratch of one thread is bounded by.
inline constexpr std::int64_t most_keys = 2048;

/// Whether `attention` takes it: depth a multiple of 16 up to 128, keys up to most_keys.
bool attention_fits(const attention_sizes& sizes) noexcept;

/// What products are made in.
enum class attention_numbers : std::uint8_t {
  fp32,
  bf16,  ///< queries, keys, values and weights are rounded; scores and sums stay fp32
};

/// out is [batch, queries, heads, depth], dense. Results of one row do not depend on others in the batch. With `added`,
/// numbers are fp32.
void attention(const attention_sizes& sizes, const strided& q, const strided& k, const strided& v,
               const attention_mask& mask, bool causal, float scale, float* out,
               const parallel& team = parallel::none(), attention_numbers numbers = attention_numbers::fp32,
               instruction_set which = chosen_instruction_set(), const added_keys& added = {});

}  // namespace shoal::kernels
