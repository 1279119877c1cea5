// Errors as gRPC tells them.
#pragma once

#include <grpcpp/support/status.h>

#include "core/error.hpp"

namespace shoal::gateway::grpc_door {

/// Clients that retry by themselves do so for UNAVAILABLE; a full queue is RESOURCE_EXHAUSTED, which they leave to
/// their user. Long messages are cut: they travel in the trailers, which clients bound (8 KiB).
grpc::Status to_status(const error& failure);

/// Of a retryable error with a `retry_after`: the trailer that clients with retries of their own obey
/// (https://github.com/grpc/proposal/blob/master/A6-client-retries.md, "pushback").
inline constexpr const char* pushback_field = "grpc-retry-pushback-ms";

}  // namespace shoal::gateway::grpc_door
