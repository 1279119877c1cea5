// What tensors hold together.
#pragma once

#include <cstddef>
#include <vector>

#include "core/tensor.hpp"

namespace shoal {

inline std::size_t bytes_of(const std::vector<tensor>& tensors) {
  std::size_t bytes = 0;
  for (const auto& each : tensors) bytes += each.data.size();
  return bytes;
}

}  // namespace shoal
