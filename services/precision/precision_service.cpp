#include "services/precision/precision_service.hpp"

#include <cmath>

#include <spdlog/spdlog.h>

#include "executor/device_signature.hpp"
#include "executor/model.hpp"
#include "precision/planner_actor.hpp"

namespace shoal::services {

void precision_settings::declare(config& keys) {
  keys.key("precision", "listen", &listen, "addresses where workers reach this service")
      .key("precision", "schedulers", &schedulers, "addresses of schedulers, which pass its figures on; empty: none")
      .key("precision", "metrics", &metrics, "HOST:PORT for metrics and health; empty: none")
      .key("precision", "models", &models, "the model directory, as the workers have it; plans are kept in it")
      .key("precision", "policy", &policy,
           "measured: planned on this machine, first with seeded inputs, then on traffic; bf16 or rule (the published "
           "table): as they say; file: by the plans beside the archives alone; fp32: nothing is planned")
      .key("precision", "budget", &budget, "error of a model's outputs against fp32's that a plan may have, as a share")
      .key("precision", "seconds", &seconds, "of idle processor time for one plan, about")
      .key("precision", "samples", &samples, "executions of real traffic that a plan is made of")
      .key("precision", "threads", &threads, "compute threads to measure with: as many as the workers have")
      .key("precision", "device", &device, "where it measures, as the workers it plans for: cpu, or cuda:N");
}

expected<std::unique_ptr<precision_service>> precision_service::start(caf::actor_system& system,
                                                                      const precision_settings& settings) {
  const auto source = precision::parse_plan_source(settings.policy);
  if (!source) return fail(source.error().code, "precision.policy: " + source.error().message);
  if (!(settings.budget > 0) || !(settings.budget < 1))
    return fail(errc::invalid_argument, "precision.budget must be a share between 0 and 1, such as 0.03");
  if (!(settings.seconds >= 1) || !(settings.seconds <= 86400))
    return fail(errc::invalid_argument, "precision.seconds must be from 1 to 86400");
  if (settings.samples < 1 || settings.samples > 1024)
    return fail(errc::invalid_argument, "precision.samples must be from 1 to 1024");
  if (settings.threads < 1 || settings.threads > 1024)
    return fail(errc::invalid_argument, "precision.threads must be from 1 to 1024");
  const auto device = executor::device::parse(settings.device);
  if (!device) return fail(device.error().code, "precision.device: " + device.error().message);
  if (auto ready = executor::prepare_device(*device); !ready) return tl::unexpected(ready.error());
  auto identity = settings.access.enter(
      access::role::precision, {{"precision.listen", settings.listen}, {"precision.metrics", {settings.metrics}}});
  if (!identity) return tl::unexpected(identity.error());
  auto service = std::unique_ptr<precision_service>(new precision_service);
  service->system_ = &system;
  precision::precision_options options;
  options.instance = new_instance();
  options.device = executor::device_signature(*device);
  options.source = *source;
  options.budget = settings.budget;
  options.seconds = settings.seconds;
  options.samples = settings.samples;
  link::options link;
  link.service = protocol::service_kind::precision;
  link.identity = std::move(*identity);
  link.instance = options.instance;
  link.bind = settings.listen;
  // Workers ask the one that has their device.
  link.capabilities.push_back("device=" + options.device);
  auto made = node::create(system, link);
  if (!made) return tl::unexpected(made.error());
  service->node_ = std::move(*made);
  auto& node = *service->node_;
  service->planner_ = precision::spawn_planner(system, node.loop(), settings.models, settings.threads, *device);
  service->shelf_ = precision::spawn_shelf(system, node.loop(), settings.models);
  service->actor_ = precision::spawn_precision(system, service->planner_, service->shelf_, std::move(options),
                                               node.link(), node.figures());
  require(service->planner_, "planner");
  require(service->shelf_, "shelf");
  require(service->actor_, "precision");
  std::vector<std::pair<protocol::service_kind, std::string>> peers;
  for (const auto& address : settings.schedulers) peers.emplace_back(protocol::service_kind::scheduler, address);
  auto started = node.start(service->actor_, peers, settings.metrics, [] { return true; });
  if (!started) return tl::unexpected(started.error());
  return service;
}

precision_service::~precision_service() {
  if (node_) stop();
}

void precision_service::stop() {
  node_->stop();
  end(*system_, actor_);  // with it ends what it has ordered
  end(*system_, planner_);
  end(*system_, shelf_);
}

}  // namespace shoal::services
