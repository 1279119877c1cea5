// Inference requests and answers as messages. Every malformed request has an error of its own that names the field
// ("inputs[0].shape: ..."). Whether the model takes such inputs is checked behind the door (gateway/admission.hpp).
#pragma once

#include <string>

#include <grpcpp/support/byte_buffer.h>

#include "protocol/messages.hpp"

namespace shoal::gateway::grpc_door {

/// `message` is a ModelInferRequest; its raw tensors become slices of it. All but these may be `most_field_bytes`. `id`
/// is what the client calls the request, also where the rest of it is wrong. Errors: invalid_argument, too_large.
expected<protocol::infer> read_infer(const buffer& message, std::string& id);
inline constexpr std::size_t most_field_bytes = std::size_t{16} << 20;

/// A ModelInferResponse, its tensors raw and without a copy.
grpc::ByteBuffer to_response(const protocol::outcome& outcome, const std::string& id);

/// A ModelStreamInferResponse: either of them, with the request's id.
grpc::ByteBuffer to_stream_response(const protocol::outcome& outcome, const std::string& id);
grpc::ByteBuffer to_stream_error(const error& failure, const std::string& id);

}  // namespace shoal::gateway::grpc_door
