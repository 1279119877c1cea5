// Between the SDK's own types, which users see, and those of actors/core and actors/protocol, which they must not. No
// bytes are copied: buffers change their owner's name only.
#pragma once

#include "protocol/messages.hpp"
#include "shoal/client.hpp"

namespace shoal::client::detail {

error to_user(const shoal::error& from, std::uint64_t request_id = 0);
expected<result> to_user(protocol::outcome from);
std::vector<model> to_user(const protocol::catalogue& from);
std::vector<service> to_user(const protocol::report& from);
std::vector<worker_answer> to_user(const std::vector<protocol::worker_answer>& from);
figure to_user(const protocol::figure& from);

/// The sum over the inputs, each of which is checked.
expected<std::uint64_t> input_bytes(const request& of);
protocol::infer to_mesh(request from, priority as);

}  // namespace shoal::client::detail
