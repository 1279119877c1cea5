// ATen's own threads for kernels of ours, so that a compute thread has one team. Includes no LibTorch.
#pragma once

#include "worker/executor/kernels/parallel.hpp"

namespace shoal::worker::executor {

/// Of the calling thread: as many as ATen would use here, one inside of its parallel regions.
const kernels::parallel& compute_team();

}  // namespace shoal::worker::executor
