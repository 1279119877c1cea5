#include "services/scheduler/scheduler_service.hpp"

namespace shoal::services {

void scheduler_settings::declare(config& keys) {
  keys.key("scheduler", "listen", &listen, "addresses where gateways and workers reach this scheduler")
      .key("scheduler", "metrics", &metrics, "HOST:PORT for metrics and health; empty: none")
      .key("scheduler", "max_queue", &scheduler.max_queue, "requests that may wait for one model")
      .key("scheduler", "max_padding_percent", &max_padding_percent, "largest part of a batch that may be padding")
      .key("scheduler", "fixed_share_percent", &fixed_share_percent,
           "a batch grows until its fixed cost, as measured, is this part of its time; 0: as far as deadlines allow")
      .key("scheduler", "predict", &scheduler.predict, "refuse at once what would not be done in time, as measured")
      .key("scheduler", "stage_ahead_ms", &scheduler.stage_ahead, "a batch is formed so long before its worker is free")
      .key("scheduler", "profiles", &profiles, "file that keeps measured batch times over restarts; empty: none");
}

expected<std::unique_ptr<scheduler_service>> scheduler_service::start(caf::actor_system& system,
                                                                      const scheduler_settings& settings) {
  if (settings.max_padding_percent > 100)
    return fail(errc::invalid_argument, "scheduler.max_padding_percent must be from 0 to 100");
  if (settings.fixed_share_percent < 0 || settings.fixed_share_percent > 99)
    return fail(errc::invalid_argument, "scheduler.fixed_share_percent must be from 0 to 99");
  auto identity = settings.access.enter(
      access::role::scheduler, {{"scheduler.listen", settings.listen}, {"scheduler.metrics", {settings.metrics}}});
  if (!identity) return tl::unexpected(identity.error());
  auto service = std::unique_ptr<scheduler_service>(new scheduler_service);
  service->system_ = &system;
  auto options = settings.scheduler;
  options.instance = new_instance();
  options.max_padding = settings.max_padding_percent / 100.0;
  options.fixed_share = settings.fixed_share_percent / 100.0;
  link::options link;
  link.service = protocol::service_kind::scheduler;
  link.identity = std::move(*identity);
  link.instance = options.instance;
  link.bind = settings.listen;
  auto made = node::create(system, link);
  if (!made) return tl::unexpected(made.error());
  service->node_ = std::move(*made);
  auto& node = *service->node_;
  std::shared_ptr<scheduler::profile_store> profiles;
  if (!settings.profiles.empty()) profiles = std::make_shared<scheduler::profile_file>(settings.profiles);
  service->actor_ = scheduler::spawn_scheduler(system, options, node.link(), node.figures(), profiles);
  require(service->actor_, "scheduler");
  auto started = node.start(service->actor_, {}, settings.metrics, [] { return true; });
  if (!started) return tl::unexpected(started.error());
  return service;
}

scheduler_service::~scheduler_service() {
  if (node_) stop();
}

void scheduler_service::stop() {
  node_->stop();
  end(*system_, actor_);
}

}  // namespace shoal::services
