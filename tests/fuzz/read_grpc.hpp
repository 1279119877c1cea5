// A request of the gRPC door, as its fuzz target and the replay of its corpus hand it to its method.
//
// An input is the method's name, a zero byte, and the message. (Below that is gRPC itself, which has fuzzers of its
// own.)
#pragma once

#include <span>

#include "core/error.hpp"

namespace shoal::test {

/// What the method of a mesh with the model `identity` answers. Throws std::logic_error if it answers twice or not at
/// all, or if it takes tensors that are not as long as their shapes say. Errors: not_found (there is no such method),
/// those of the method.
expected<void> read_grpc(std::span<const std::byte> input);

}  // namespace shoal::test
