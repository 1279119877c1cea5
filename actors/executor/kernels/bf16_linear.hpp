// A linear layer whose weights and rows are rounded to bf16 and whose sums are fp32.
//
// The packed form of W[columns, inner], version 1, is the same for every instruction set:
//
//     panel 0 | panel 1 | ... | panel ceil(columns / 16) - 1
//     panel p: for g in 0..ceil(inner / 2) - 1: for c in 0..15: W[16p + c][2g], W[16p + c][2g + 1]    64 bytes a pair
//
// What is beyond columns and inner is 0. Processors with an instruction for it (AVX512-BF16) take denormal numbers for
// 0 and round each sum of two products once more than others do, so results differ in their last bits between them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/parallel.hpp"

namespace shoal::kernels {

/// Goes up whenever the bytes of the packed form change.
inline constexpr int bf16_linear_version = 1;

/// Names the form for a store of packed weights: "linear-bf16-panel16x2-v1".
std::string bf16_layout();

/// Elements of the packed form; nothing if that is more than a signed 64-bit count of bytes or a size is negative.
std::optional<std::int64_t> packed_bf16_elements(std::int64_t columns, std::int64_t inner) noexcept;

/// `weight` is [columns, inner] with these strides in elements; `to` holds packed_bf16_elements.
void pack_bf16_weight(const float* weight, std::int64_t columns, std::int64_t inner, std::int64_t column_stride,
                      std::int64_t inner_stride, std::uint16_t* to) noexcept;

/// `which` must be available. A row of the result is the same whatever rows, threads and tiles are beside it.
void bf16_linear(const bf16_linear_task& task, const parallel& team = parallel::none(),
                 instruction_set which = chosen_instruction_set());

}  // namespace shoal::kernels
