// The documents about the server and its models, as messages. Free sizes are -1.
#pragma once

#include "gateway/open_inference.hpp"
#include "inference.pb.h"

namespace shoal::gateway::grpc_door {

inference::ServerMetadataResponse describe_server();
inference::ModelMetadataResponse describe_model(const protocol::model_spec& spec, const protocol::catalogue& models);
inference::ModelConfigResponse describe_config(const protocol::model_spec& spec);
inference::ModelStatisticsResponse describe_statistics(const std::vector<protocol::model_statistics>& entries);
inference::RepositoryIndexResponse describe_repository(const protocol::catalogue& models, bool ready_only);

}  // namespace shoal::gateway::grpc_door
