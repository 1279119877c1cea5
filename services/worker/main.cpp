// shoal-worker: runs models.
#include <spdlog/spdlog.h>

#include "executor/model.hpp"
#include "services/host/program.hpp"
#include "services/worker/worker_service.hpp"

int main(int argc, char** argv) {
  using namespace shoal;
  services::worker_settings settings;
  return services::service_main(
      argc, argv, "worker", "shoal-worker: runs exported PyTorch models",
      [&](config& keys) {
        settings.declare(keys);
        settings.access.declare(keys);
      },
      [&](services::signals& ending) -> expected<void> {
        executor::bound_primitive_caches(settings.primitive_cache);
        services::actor_config config;
        caf::actor_system system(config);
        auto worker = services::worker_service::start(system, settings);
        if (!worker) return tl::unexpected(worker.error());
        while (ending.wait(std::chrono::hours(1)) == 0) {
        }
        spdlog::info("draining");
        (*worker)->stop();
        return {};
      });
}
