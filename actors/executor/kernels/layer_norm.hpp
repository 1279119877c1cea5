// Layer norm (Ba, Kiros, Hinton 2016) of fp32 rows, optionally of the sum of two tensors.
#pragma once

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/parallel.hpp"

namespace shoal::kernels {

/// Variance is the biased one, from centred values. `rows` of task.width; y may be x.
void layer_norm(const norm_task& task, std::int64_t rows, const parallel& team = parallel::none(),
                instruction_set which = chosen_instruction_set());

}  // namespace shoal::kernels
