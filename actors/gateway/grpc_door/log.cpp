#include "gateway/grpc_door/log.hpp"

#include <mutex>

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/spdlog.h>

namespace shoal::gateway::grpc_door {

void log_as_we_do() {
  static std::once_flag once;
  std::call_once(once, [] {
    gpr_set_log_function([](gpr_log_func_args* line) { spdlog::warn("gRPC: {}", line->message); });
    google::protobuf::SetLogHandler([](google::protobuf::LogLevel, const char*, int, const std::string& message) {
      spdlog::debug("protobuf: {}", message);
    });
  });
}

}  // namespace shoal::gateway::grpc_door
