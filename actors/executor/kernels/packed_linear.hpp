// A linear layer in fp32 whose weights were packed once: y = activation(x * W^T + bias) + residual.
//
// The packed form of W[columns, inner], version 1, is the same for every instruction set:
//
//     panel 0 | panel 1 | ... | panel ceil(columns / 16) - 1         each inner * 64 bytes, one after the other
//     panel p: for k in 0..inner-1: W[16p + 0][k] .. W[16p + 15][k]  16 fp32, little endian; columns beyond are 0
//
// So a multiplication reads every panel front to back in whole cache lines (the start is aligned to 64 bytes), a tile
// may take one, two or four neighbouring panels, and a linear over several weights is one panel list after the other.
// What one host packed another may map, whatever instructions it has. Pure functions; sizes are the caller's to check
// with `packed_elements`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/parallel.hpp"

namespace shoal::kernels {

/// Goes up whenever the bytes of the packed form change.
inline constexpr int packed_linear_version = 1;

/// Names the form for a store of packed weights: "linear-fp32-panel16-v1". It says nothing of the instruction set,
/// since the bytes do not depend on it.
std::string packed_layout();

/// Elements of the packed form; nothing if that is more than a signed 64-bit count of bytes or a size is negative.
std::optional<std::int64_t> packed_elements(std::int64_t columns, std::int64_t inner) noexcept;

/// `weight` is [columns, inner] with these strides in elements; `to` holds packed_elements(columns, inner).
void pack_weight(const float* weight, std::int64_t columns, std::int64_t inner, std::int64_t column_stride,
                 std::int64_t inner_stride, float* to) noexcept;

/// "none", "relu", "gelu", "gelu_tanh", "silu".
std::optional<activation> parse_activation(std::string_view name) noexcept;

/// Shares the work over `team`; `which` must be available. A row of the result is the same whatever rows, threads and
/// tiles are beside it.
void linear(const linear_task& task, const parallel& team = parallel::none(),
            instruction_set which = chosen_instruction_set());

}  // namespace shoal::kernels
