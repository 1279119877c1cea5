// What a plan is made for: a kind of device, and whose kernels compute there. What is fast is a matter of both. No
// LibTorch.
#pragma once

#include <string>

#include "executor/device.hpp"

namespace shoal::executor {

/// "cpu/<instruction set>/<the processor's name>"; "cuda/sm_90/<the card's name>", as the driver says; "unknown" for
/// what is not known. Without our own kernels a CPU's instruction set is "aten".
std::string device_signature(const device& on = {}, bool own_kernels = true);

}  // namespace shoal::executor
