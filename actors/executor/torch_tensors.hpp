// Tensors as they travel, as ATen sees them, and back. Includes LibTorch.
#pragma once

#include <ATen/core/Tensor.h>

#include "core/error.hpp"
#include "core/tensor.hpp"
#include "protocol/model.hpp"

namespace shoal::executor {

/// Its bytes in place, kept alive by what is returned; copied if a node writes to it, to a GPU, or where it is
/// misaligned. Throws what ATen throws.
at::Tensor to_torch(const tensor& given, bool is_written, c10::Device device);

/// In the host's memory, named and typed `as`. Error: internal (another type).
expected<tensor> from_torch(const at::Tensor& result, const protocol::tensor_spec& as);

}  // namespace shoal::executor
