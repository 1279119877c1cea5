// shoal-scheduler: decides which request runs where, with which others, and when.
#include <spdlog/spdlog.h>

#include "services/host/program.hpp"
#include "services/scheduler/scheduler_service.hpp"

int main(int argc, char** argv) {
  using namespace shoal;
  services::scheduler_settings settings;
  return services::service_main(
      argc, argv, "scheduler", "shoal-scheduler: queues, batches and dispatches requests",
      [&](config& keys) {
        settings.declare(keys);
        settings.access.declare(keys);
      },
      [&](services::signals& ending) -> expected<void> {
        services::actor_config config;
        caf::actor_system system(config);
        auto scheduler = services::scheduler_service::start(system, settings);
        if (!scheduler) return tl::unexpected(scheduler.error());
        for (const auto& endpoint : (*scheduler)->endpoints()) spdlog::info("scheduler at {}", endpoint);
        while (ending.wait(std::chrono::hours(1)) == 0) {
        }
        (*scheduler)->stop();
        return {};
      });
}
