#include "services/worker/worker_service.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "executor/model.hpp"
#include "executor/model_directory.hpp"
#include "worker/compute_actor.hpp"
#include "worker/loader_actor.hpp"

namespace shoal::services {

void worker_settings::declare(config& keys) {
  keys.key("worker", "models", &models, "directory of <name>/<version>/model.pt2")
      .key("worker", "schedulers", &schedulers, "addresses of the schedulers; names are resolved again and again")
      .key("worker", "gateways", &gateways, "addresses of the gateways; names are resolved again and again")
      .key("worker", "caches", &caches, "addresses of this host's caches; empty: weights are mapped from the archives")
      .key("worker", "dram", &dram, "the caches' memory tier (cache.dram) as this worker sees it")
      .key("worker", "planners", &planners,
           "addresses of precision services, whose plans it computes by; empty: by the plans beside the archives")
      .key("worker", "metrics", &metrics, "HOST:PORT for metrics and health; empty: none")
      .key("worker", "threads", &threads, "compute threads of one operator")
      .key("worker", "cores", &cores, "cores of the compute threads, such as 0-3,8, or auto; empty: any")
      .key("worker", "primitive_cache", &primitive_cache, "kernels that oneDNN keeps for shapes it has met")
      .key("worker", "device", &device, "where models compute: cpu, or cuda:N, the GPU N of this machine")
      .key("worker", "precision", &precision, "measured: by plans for this device, where there are any; or fp32")
      .key("worker", "shadow_percent", &shadow_percent,
           "of the compute time, for comparing a plan's answers with those in fp32; 0: none")
      .key("worker", "plan_memory_mib", &plan_memory_mib,
           "MiB that a further plan may take while plans change; 0: half of what is free then")
      .key(
          "worker", "recompute", &recompute,
          "true: batches that are seen to err more than the plan promises are computed again in fp32 before they leave")
      .key("worker", "drain_ms", &drain, "time to finish what was taken before it ends");
}

expected<std::unique_ptr<worker_service>> worker_service::start(caf::actor_system& system,
                                                                const worker_settings& settings) {
  if (settings.threads < 1 || settings.threads > 1024)
    return fail(errc::invalid_argument, "worker.threads must be from 1 to 1024");
  if (settings.primitive_cache < 1 || settings.primitive_cache > 65536)
    return fail(errc::invalid_argument, "worker.primitive_cache must be from 1 to 65536");
  if (settings.shadow_percent < 0 || settings.shadow_percent > 50)
    return fail(errc::invalid_argument, "worker.shadow_percent must be from 0 to 50");
  if (settings.recompute && settings.shadow_percent == 0)
    return fail(errc::invalid_argument, "worker.recompute needs comparisons: set worker.shadow_percent above 0");
  if (settings.plan_memory_mib > (std::uint64_t{1} << 30))
    return fail(errc::invalid_argument, "worker.plan_memory_mib is larger than any memory");
  auto cores = worker::parse_cores(settings.cores);
  if (!cores) return fail(cores.error().code, "worker.cores: " + cores.error().message);
  const auto device = executor::device::parse(settings.device);
  if (!device) return tl::unexpected(device.error());
  const auto precision = worker::parse_precision_policy(settings.precision);
  if (!precision) return fail(precision.error().code, "worker.precision: " + precision.error().message);
  if (auto ready = executor::prepare_device(*device); !ready) return tl::unexpected(ready.error());
  auto models = executor::scan_models(settings.models);
  if (!models) return tl::unexpected(models.error());
  if (models->empty())
    spdlog::warn("there is no model in {}: add one with `shoal import FILE.pt2 --models {}`", settings.models,
                 settings.models);
  auto identity = settings.access.enter(access::role::worker, {{"worker.metrics", {settings.metrics}}});
  if (!identity) return tl::unexpected(identity.error());
  auto service = std::unique_ptr<worker_service>(new worker_service);
  service->system_ = &system;
  service->drain_ = settings.drain;
  service->models_found_ = models->size();
  auto options = settings.worker;
  options.instance = new_instance();
  options.ready = std::make_shared<std::atomic<bool>>(false);
  link::options link;
  link.service = protocol::service_kind::worker;
  link.identity = std::move(*identity);
  link.instance = options.instance;
  // What schedulers keep measured times apart by.
  link.capabilities.push_back("device=" + settings.device + "/" + std::to_string(settings.threads));
  auto made = node::create(system, link);
  if (!made) return tl::unexpected(made.error());
  service->node_ = std::move(*made);
  auto& node = *service->node_;
  // A pattern tells nothing of how many there are: those that are named are waited for at the first use, or else one.
  const auto named = std::count_if(settings.caches.begin(), settings.caches.end(),
                                   [](const std::string& address) { return !address.ends_with('*'); });
  const auto known = std::max<std::size_t>(1, static_cast<std::size_t>(named));
  if (!settings.caches.empty())
    service->caches_ = worker::cache_client::make({settings.dram, known}, node.link(), node.figures());
  service->compute_ =
      worker::spawn_compute(system, node.loop(), {settings.threads, std::move(*cores)}, &node.figures());
  service->loader_ =
      worker::spawn_loader(system, node.loop(), service->compute_, settings.models,
                           {settings.threads, *device, service->caches_, *precision, settings.shadow_percent / 100.0,
                            settings.plan_memory_mib << 20, settings.recompute});
  require(service->loader_, "loader");
  service->actor_ = worker::spawn_worker(system, service->loader_, service->compute_, options, node.link(),
                                         std::move(*models), node.figures(), service->caches_);
  require(service->compute_, "compute");
  require(service->actor_, "worker");
  std::vector<std::pair<protocol::service_kind, std::string>> peers;
  // Gateways first: a batch may name one as soon as a scheduler knows this worker.
  for (const auto& address : settings.caches) peers.emplace_back(protocol::service_kind::cache, address);
  for (const auto& address : settings.gateways) peers.emplace_back(protocol::service_kind::gateway, address);
  for (const auto& address : settings.planners) peers.emplace_back(protocol::service_kind::precision, address);
  for (const auto& address : settings.schedulers) peers.emplace_back(protocol::service_kind::scheduler, address);
  auto started =
      node.start(service->actor_, peers, settings.metrics, [ready = options.ready] { return ready->load(); });
  if (!started) return tl::unexpected(started.error());
  return service;
}

worker_service::~worker_service() {
  if (node_) stop();
}

void worker_service::stop() {
  if (actor_ && !drain(*system_, actor_, drain_))
    spdlog::warn("the worker ends with a batch running: drain_ms was over; its requests go to others");
  if (caches_) caches_->stop();
  node_->stop();
  end(*system_, actor_);
  end(*system_, loader_);
  end(*system_, compute_);
}

}  // namespace shoal::services
