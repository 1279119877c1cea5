// shoal-precision: plans which numbers the nodes of models compute in.
#include <spdlog/spdlog.h>

#include "executor/model.hpp"
#include "services/host/program.hpp"
#include "services/precision/precision_service.hpp"

int main(int argc, char** argv) {
  using namespace shoal;
  services::precision_settings settings;
  return services::service_main(
      argc, argv, "precision", "shoal-precision: plans which numbers the nodes of models compute in, by measuring",
      [&](config& keys) {
        settings.declare(keys);
        settings.access.declare(keys);
      },
      [&](services::signals& ending) -> expected<void> {
        services::actor_config config;
        caf::actor_system system(config);
        auto precision = services::precision_service::start(system, settings);
        if (!precision) return tl::unexpected(precision.error());
        for (const auto& endpoint : (*precision)->endpoints()) spdlog::info("precision at {}", endpoint);
        while (ending.wait(std::chrono::hours(1)) == 0) {
        }
        (*precision)->stop();
        return {};
      });
}
