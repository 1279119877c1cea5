// Rows of fp32 as rows of bytes, each with a scale and a zero of its own, so that what a row becomes does not depend on
// the rows beside it:
//
//     scale = (max - min) / 255      zero = round(-min / scale)      byte = round(x / scale) + zero, within 0..255
//     x is about (byte - zero) * scale
//
// where min and max are of the row and 0 (asymmetric uniform quantisation; Jacob et al. 2018, equation 1). A row of
// `width` numbers lies in quantised_row_bytes(width) bytes: the bytes, zeros up to a cache line, and a line that begins
// with the scale (fp32) and the zero (i32). A row with a NaN or an infinity has the scale NaN, and so is what is made
// of it.
#pragma once

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/parallel.hpp"

namespace shoal::kernels {

void quantise_rows(const quantise_task& task, std::int64_t rows, const parallel& team = parallel::none(),
                   instruction_set which = chosen_instruction_set());

}  // namespace shoal::kernels
