// Linear layers with int8 weights: y = activation(x * W^T + bias) + residual, for rows that are quantised
// (quantised_rows.hpp; sums are exact whole numbers) or for fp32 rows (the weights alone are narrow: for decoders,
// whose speed is that of reading them). Where there is an instruction for bytes, fp32 rows go through it in three bytes
// a number, each within 2^-23 of its row's largest; a row with a number that is not finite then gives NaN.
//
// The packed form of W[columns, inner], version 1, is the same for every instruction set and for both:
//
//     panel 0 | panel 1 | ... | panel P - 1 | scales | offsets      P = ceil(columns / 16)
//     panel p: for g in 0..ceil(inner / 4) - 1: for c in 0..15: Q[16p + c][4g .. 4g + 3]       64 bytes a group
//     scales: P * 16 fp32;  offsets: P * 16 fp32, the sum of each column's bytes times its scale
//
// Q = round(W / scale), within -127..127, with a scale for each column (output channel): its largest magnitude / 127,
// or less if `clip` finds a smaller scale with a smaller squared error. What is beyond columns and inner is 0. A column
// with a weight that is not finite has the scale NaN, and so have its results.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/parallel.hpp"

namespace shoal::kernels {

/// Goes up whenever the bytes of the packed form change.
inline constexpr int int8_linear_version = 1;

/// Names the form for a store of packed weights: "linear-int8-panel16x4-v1".
std::string int8_layout();

/// Bytes of the packed form; nothing if they are too many for a signed 64-bit count, a size is negative, or the inner
/// size is above most_int8_inner.
std::optional<std::int64_t> packed_int8_bytes(std::int64_t columns, std::int64_t inner) noexcept;

/// A sum of more products of a byte and a weight might not fit 31 bits.
inline constexpr std::int64_t most_int8_inner = 65536;

/// `weight` is [columns, inner] with these strides in elements. `factors` ([inner], null: 1) are those its rows of x
/// will be multiplied by: the weights are divided by them first. `to` holds packed_int8_bytes, aligned to 64 bytes.
void pack_int8_weight(const float* weight, std::int64_t columns, std::int64_t inner, std::int64_t column_stride,
                      std::int64_t inner_stride, const float* factors, bool clip, std::uint8_t* to);

/// `which` must be available. A row of the result is the same whatever rows, threads and tiles are beside it.
void int8_linear(const int8_linear_task& task, const parallel& team = parallel::none(),
                 instruction_set which = chosen_instruction_set());
void int8_weight_linear(const int8_weight_linear_task& task, const parallel& team = parallel::none(),
                        instruction_set which = chosen_instruction_set());

}  // namespace shoal::kernels
