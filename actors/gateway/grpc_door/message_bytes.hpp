// A message as gRPC hands it over, made one run of bytes that counts against the door's budget for as long as anyone
// holds a part of it.
//
// gRPC would inflate compressed messages by itself, but without a limit: a megabyte becomes a gigabyte before its size
// is looked at. So it is told to leave them as they are (GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION), and it does not
// say which ones they are. Their first bytes do: no request of the service begins as gzip or zlib data does, since that
// would be a field of number 3 with a wire type that is none, or field 15.
#pragma once

#include <memory>

#include <grpcpp/support/byte_buffer.h>

#include "core/buffer.hpp"
#include "core/byte_budget.hpp"
#include "core/error.hpp"

namespace shoal::gateway::grpc_door {

/// Without a copy where gRPC has it in one run. At most `most` bytes once inflated. Errors: overloaded (the budget is
/// used up), too_large, invalid_argument (damaged).
expected<buffer> take_message(const grpc::ByteBuffer& received, std::size_t most,
                              const std::shared_ptr<byte_budget>& budget);

/// A message to be sent.
template <class Message>
grpc::ByteBuffer to_bytes(const Message& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return {&slice, 1};
}

}  // namespace shoal::gateway::grpc_door
