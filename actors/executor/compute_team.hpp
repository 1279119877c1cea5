// ATen's own threads for kernels of ours, so that a compute thread has one team. Includes no LibTorch.
#pragma once

#include "executor/kernels/parallel.hpp"

namespace shoal::executor {

/// Of the calling thread: as many as ATen would use here, one inside of its parallel regions.
const kernels::parallel& compute_team();

}  // namespace shoal::executor
