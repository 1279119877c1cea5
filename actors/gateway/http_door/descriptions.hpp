// The documents about the server and its models: Open Inference Protocol v2's metadata, and the repository's index.
#pragma once

#include <string>

#include "core/error.hpp"
#include "protocol/messages.hpp"

namespace shoal::gateway::http_door {

std::string describe_server();

/// Free sizes are -1, as the protocol has it. `versions` lists all that are ready.
std::string describe_model(const protocol::model_spec& spec, const protocol::catalogue& models);

/// The answer to POST /v2/repository/index. `body` may be empty, or ask for `{"ready": true}` only.
/// Errors: invalid_argument.
expected<std::string> describe_repository(const protocol::catalogue& models, std::string_view body);

}  // namespace shoal::gateway::http_door
