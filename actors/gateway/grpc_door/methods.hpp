// What each method of the service does with one request message. Nothing of connections or streams: call.hpp.
#pragma once

#include <functional>
#include <string_view>

#include <grpcpp/support/byte_buffer.h>

#include "access/doorman.hpp"
#include "core/buffer.hpp"
#include "gateway/front.hpp"

namespace shoal::gateway::grpc_door {

struct asked {
  front& behind;
  const buffer& message;             ///< one serialized request
  protocol::microseconds time_left;  ///< that the client gives the call; zero: it does not say
  protocol::trace_context trace;
};

/// To be called exactly once, on any thread. An error ends the call.
using answer = std::function<void(expected<grpc::ByteBuffer>)>;

struct method {
  std::string_view path;  ///< "/inference.GRPCInferenceService/ServerLive"
  /// Returns the ticket to cancel the request with; zero: there is nothing to cancel.
  protocol::request_id (*handle)(const asked& asked, answer respond);
  access::need takes = access::need::administration;  ///< nothing: health, which is answered unread
  bool streams = false;  ///< any number of requests, each with its answer; errors travel within answers

  [[nodiscard]] bool is_health() const noexcept { return takes == access::need::nothing; }
};

/// Null: there is no such method.
const method* find_method(std::string_view path) noexcept;

}  // namespace shoal::gateway::grpc_door
