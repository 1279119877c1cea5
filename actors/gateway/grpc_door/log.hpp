// What gRPC and protobuf log, among our own lines.
#pragma once

namespace shoal::gateway::grpc_door {

/// For the whole process, from the first call on. gRPC's errors are warnings here (how much it says is
/// GRPC_VERBOSITY's); what protobuf has to say of strangers' messages is for debugging only, since the strangers are
/// told themselves.
void log_as_we_do();

}  // namespace shoal::gateway::grpc_door
