// shoal-gateway: the doors of the mesh.
#include <spdlog/spdlog.h>

#include "services/gateway/gateway_service.hpp"
#include "services/host/program.hpp"

int main(int argc, char** argv) {
  using namespace shoal;
  services::gateway_settings settings;
  return services::service_main(
      argc, argv, "gateway", "shoal-gateway: takes requests over HTTP, gRPC and the native protocol",
      [&](config& keys) {
        settings.declare(keys);
        settings.access.declare(keys);
      },
      [&](services::signals& ending) -> expected<void> {
        services::actor_config config;
        caf::actor_system system(config);
        auto gateway = services::gateway_service::start(system, settings);
        if (!gateway) return tl::unexpected(gateway.error());
        for (const auto& endpoint : (*gateway)->endpoints()) spdlog::info("gateway at {}", endpoint);
        if (const auto http = (*gateway)->http_address(); !http.empty()) spdlog::info("HTTP at http://{}", http);
        if (const auto grpc = (*gateway)->grpc_address(); !grpc.empty()) spdlog::info("gRPC at {}", grpc);
        while (ending.wait(std::chrono::hours(1)) == 0) {
        }
        spdlog::info("draining");
        (*gateway)->stop();
        return {};
      });
}
