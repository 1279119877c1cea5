#include "gateway/grpc_door/status.hpp"

namespace shoal::gateway::grpc_door {

namespace {

constexpr std::size_t longest_message = 2048;

grpc::StatusCode code_of(errc code) {
  switch (code) {
    case errc::internal:
    case errc::poisoned: return grpc::StatusCode::INTERNAL;
    case errc::invalid_argument: return grpc::StatusCode::INVALID_ARGUMENT;
    case errc::not_found: return grpc::StatusCode::NOT_FOUND;
    case errc::unsupported: return grpc::StatusCode::UNIMPLEMENTED;
    case errc::too_large:
    case errc::overloaded: return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case errc::deadline_exceeded: return grpc::StatusCode::DEADLINE_EXCEEDED;
    case errc::cancelled: return grpc::StatusCode::CANCELLED;
    case errc::unavailable: return grpc::StatusCode::UNAVAILABLE;
    case errc::incompatible: return grpc::StatusCode::FAILED_PRECONDITION;
    case errc::corrupt: return grpc::StatusCode::DATA_LOSS;
    case errc::unauthenticated: return grpc::StatusCode::UNAUTHENTICATED;
    case errc::permission_denied: return grpc::StatusCode::PERMISSION_DENIED;
  }
  return grpc::StatusCode::UNKNOWN;
}

}  // namespace

grpc::Status to_status(const error& failure) {
  return {code_of(failure.code), failure.message.substr(0, longest_message)};
}

}  // namespace shoal::gateway::grpc_door
