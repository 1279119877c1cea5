// Tensors whose elements are spelled out in a message (InferTensorContents) instead of lying there raw.
#pragma once

#include <string_view>

#include "core/tensor.hpp"
#include "inference.pb.h"

namespace shoal::gateway::grpc_door {

/// The elements of `contents` as a tensor's bytes. Only the field that belongs to `type` may be filled, with exactly as
/// many elements as `dims` has, each of them a value of `type`. `where` names the input in errors.
/// Errors: invalid_argument.
expected<buffer> elements_of(const inference::InferTensorContents& contents, dtype type, const shape& dims,
                             std::string_view where);

}  // namespace shoal::gateway::grpc_door
