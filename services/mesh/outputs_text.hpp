// Tensors as JSON, as the HTTP door writes them: a list of {"name", "datatype", "shape", "data"}, data flat.
#pragma once

#include <string>
#include <vector>

#include "core/tensor.hpp"

namespace shoal::services {

/// Data that JSON has no numbers for (FP16, BF16) is null.
std::string outputs_text(const std::vector<tensor>& outputs);

}  // namespace shoal::services
