// Tensors as nested JSON arrays, as people and files write them.
#pragma once

#include <nlohmann/json.hpp>

#include "core/tensor.hpp"

namespace shoal::services {

/// Sizes of nested arrays, taken from the first element at each level; elements_of checks the others.
inline shape dims_of(const nlohmann::json& value) {
  shape dims;
  for (const auto* at = &value; at->is_array(); at = &at->front()) {
    dims.push_back(static_cast<std::int64_t>(at->size()));
    if (at->empty()) break;
  }
  return dims;
}

}  // namespace shoal::services
