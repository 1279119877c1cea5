// The documents about the server and its models: Open Inference Protocol v2's metadata, its statistics and model
// configuration extensions, and the repository's index.
#pragma once

#include <string>

#include "core/error.hpp"
#include "gateway/open_inference.hpp"
#include "protocol/messages.hpp"

namespace shoal::gateway::http_door {

std::string describe_server();

/// Free sizes are -1, as the protocol has it. `versions` lists all that are ready.
std::string describe_model(const protocol::model_spec& spec, const protocol::catalogue& models);

/// The model configuration extension: what a client needs to know of batching and types. Free sizes are -1.
std::string describe_config(const protocol::model_spec& spec);

/// The statistics extension: one entry per model version of `models` that `wanted` names (an empty name: all; version
/// zero: all of that name), with zeros for what `counted` does not hold. batch_stats stays empty.
std::string describe_statistics(const std::vector<protocol::model_statistics>& counted,
                                const protocol::catalogue& models, const model_reference& wanted);

/// Whether the body of a load or unload (JSON, or empty) asks for nothing but that. Errors: invalid_argument.
expected<void> check_life_body(std::string_view body);

/// The answer to POST /v2/repository/index. `body` may be empty, or ask for `{"ready": true}` only.
/// Errors: invalid_argument.
expected<std::string> describe_repository(const protocol::catalogue& models, std::string_view body);

}  // namespace shoal::gateway::http_door
