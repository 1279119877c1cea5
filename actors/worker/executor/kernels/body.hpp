// The kernels, for the instruction set whose SHOAL_VECTOR_BYTES is defined. Included by one source per set.
//
// A tile is up to `tile_rows` rows by one, two or four panels; its sums stay in registers while it walks down the inner
// dimension. Each element of a result is one chain of fused multiply-adds in the order of the inner dimension, in
// blocks of `inner_block`, whatever the tile: so a row does not depend on the rows beside it.
#pragma once

#include "worker/executor/kernels/attention_body.hpp"
#include "worker/executor/kernels/linear_body.hpp"
#include "worker/executor/kernels/norm_body.hpp"

namespace shoal::kernels {
namespace {

constexpr kernel_table table{linear_block, layer_norm_rows, attend};

}  // namespace
}  // namespace shoal::kernels
