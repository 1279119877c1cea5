// Convolutions in two dimensions with narrow weights, channels last, without groups:
//
//     y = min(max(convolution(x) + bias + residual, low), high)
//
// in int8 (of quantised images; sums are exact whole numbers) and in bf16 (of fp32 images, rounded on the way; fp32
// sums in one order). A packed weight is that of a linear layer (int8_linear.hpp, bf16_linear.hpp) whose inner
// dimension is [kernel height][kernel width][channels rounded up to four, for bf16 to two].
//
// A convolution is a product in which a row of the left side is scattered over the image: each pixel of a tile has one
// address, each tap one distance from it. Where pixels outside of the image are read, rows of it are first copied into
// a frame of zeros, so that this holds everywhere.
#pragma once

#include <optional>

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/parallel.hpp"

namespace shoal::kernels {

/// Of one dimension of a packed weight; nothing if it is too many, or its sums might not fit 31 bits.
std::optional<std::int64_t> convolution_inner_int8(const convolution_shape& shape) noexcept;
std::optional<std::int64_t> convolution_inner_bf16(const convolution_shape& shape) noexcept;

/// `which` must be available. What an image becomes does not depend on the images, threads and tiles beside it.
void int8_convolution(const int8_convolution_task& task, const parallel& team = parallel::none(),
                      instruction_set which = chosen_instruction_set());
void bf16_convolution(const bf16_convolution_task& task, const parallel& team = parallel::none(),
                      instruction_set which = chosen_instruction_set());

}  // namespace shoal::kernels
