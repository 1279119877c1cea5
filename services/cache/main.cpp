// shoal-cache: keeps weights once per host, mapped by every worker.
#include <spdlog/spdlog.h>

#include "services/cache/cache_service.hpp"
#include "services/host/program.hpp"

int main(int argc, char** argv) {
  using namespace shoal;
  services::cache_settings settings;
  return services::service_main(
      argc, argv, "cache", "shoal-cache: keeps weights once per host, mapped by every worker",
      [&](config& keys) {
        settings.declare(keys);
        settings.access.declare(keys);
      },
      [&](services::signals& ending) -> expected<void> {
        services::actor_config config;
        caf::actor_system system(config);
        auto cache = services::cache_service::start(system, settings);
        if (!cache) return tl::unexpected(cache.error());
        for (const auto& endpoint : (*cache)->endpoints()) spdlog::info("cache at {}", endpoint);
        while (ending.wait(std::chrono::hours(1)) == 0) {
        }
        (*cache)->stop();
        return {};
      });
}
