// A ModelInferRequest taken apart before it is parsed.
//
// Two reasons. Raw tensors are handed on as slices of the bytes that were received, without a copy. And a parsed
// message may take thirty times the memory of what a stranger sent (an empty list entry is 2 bytes on the wire and an
// object in memory), so whatever can be many is counted first, on the wire.
//
// Wire format: https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <span>
#include <vector>

#include "core/buffer.hpp"
#include "core/error.hpp"

namespace shoal::gateway::grpc_door {

struct wire_parts {
  /// All fields but raw_input_contents, in runs: parsed one after the other they are the message.
  std::vector<std::span<const std::byte>> fields;
  std::vector<buffer> raw_inputs;  ///< slices of the message
};

/// Errors: invalid_argument (no protobuf message; more inputs, outputs, sizes or parameters than `most_tensors`,
/// `max_rank` and `most_parameters` allow; bytes_contents, which nothing here takes).
expected<wire_parts> take_apart(const buffer& message);

inline constexpr std::size_t most_parameters = 64;  ///< of a request, an input or an output

}  // namespace shoal::gateway::grpc_door
