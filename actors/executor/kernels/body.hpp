// The kernels, for the instruction set whose SHOAL_VECTOR_BYTES is defined, with SHOAL_VNNI and SHOAL_BF16 if it has
// instructions for products of bytes and of bf16. Included by one source per set.
//
// A tile is up to `tile_rows` rows by one, two or four panels; its sums stay in registers while it walks down the inner
// dimension. Each element of a result is one chain of fused multiply-adds in the order of the inner dimension, in
// blocks of `inner_block`, whatever the tile: so a row does not depend on the rows beside it.
#pragma once

#include "executor/kernels/attention_bf16_body.hpp"
#include "executor/kernels/attention_of_one_body.hpp"
#include "executor/kernels/convolution_body.hpp"
#include "executor/kernels/int8_body.hpp"
#include "executor/kernels/linear_body.hpp"
#include "executor/kernels/norm_body.hpp"
#include "executor/kernels/split_rows_body.hpp"

namespace shoal::kernels {
namespace {

constexpr kernel_table table{linear_block,
                             layer_norm_rows,
                             attend,
                             attend_of_one,
                             attend_bf16,
                             quantise_rows_of,
                             int8_linear_block,
                             int8_weight_linear_block,
                             bf16_linear_block,
                             quantise_pixels_of,
                             int8_convolution_rows,
                             bf16_convolution_rows};

}  // namespace
}  // namespace shoal::kernels
