#include "services/mesh/mesh.hpp"

#include <algorithm>
#include <iostream>

#include <spdlog/spdlog.h>

#include "executor/model.hpp"
#include "executor/model_directory.hpp"
#include "worker/calibration.hpp"
#include "worker/compute_place.hpp"

namespace shoal::services {

namespace {

constexpr const char* gateway_address = "inproc://shoal.gateway";
constexpr const char* scheduler_address = "inproc://shoal.scheduler";
constexpr const char* cache_address = "inproc://shoal.cache";
constexpr const char* precision_address = "inproc://shoal.precision";

struct progress {
  std::size_t loading = 0;
  std::size_t ready = 0;
  std::size_t failed = 0;
};

progress look_at(const protocol::catalogue& models) {
  progress seen;
  for (const auto& model : models.models) {
    if (model.state == protocol::model_state::loading) ++seen.loading;
    if (model.state == protocol::model_state::ready) ++seen.ready;
    if (model.state == protocol::model_state::failed) ++seen.failed;
  }
  return seen;
}

/// True when the mesh serves; false when a signal came first.
expected<bool> wait_until_ready(const gateway_service& gateway, std::size_t models_found, signals& ending) {
  if (models_found == 0) return fail(errc::not_found, "there is nothing to serve: add a model with `shoal import`");
  for (;;) {
    const auto seen = look_at(*gateway.models());
    if (seen.ready + seen.failed >= models_found && gateway.ready()) return true;
    if (seen.failed >= models_found)
      return fail(errc::unavailable, "none of the models could be loaded (the reasons are above)");
    if (ending.wait(milliseconds(20)) != 0) return false;
  }
}

/// Null: none is wanted, or it cannot start; then models are mapped from their archives and go on.
std::unique_ptr<cache_service> start_cache(caf::actor_system& system, mesh_settings& settings) {
  if (settings.cache.dram.empty() && settings.cache.ssd.empty()) return nullptr;
  if (settings.cache.dram.empty()) settings.cache.dram = cache_settings{}.dram;
  auto started = cache_service::start(system, settings.cache);
  if (started) return std::move(*started);
  spdlog::error("the mesh goes on without a cache: {}", started.error().message);
  return nullptr;
}

void print_ready(const gateway_service& gateway) {
  std::cout << "ready";
  if (const auto http = gateway.http_address(); !http.empty()) std::cout << " http=" << http;
  if (const auto grpc = gateway.grpc_address(); !grpc.empty()) std::cout << " grpc=" << grpc;
  for (const auto& endpoint : gateway.endpoints())
    if (!endpoint.starts_with("inproc:")) std::cout << " native=" << endpoint;
  std::cout << " models=" << look_at(*gateway.models()).ready << std::endl;
}

std::string text_of(const std::vector<int>& cores) {
  std::string text;
  for (const auto core : cores) text += (text.empty() ? "" : ",") + std::to_string(core);
  return text;
}

}  // namespace

expected<std::vector<worker_settings>> plan_workers(mesh_settings settings) {
  if (settings.workers > 1024) return fail(errc::invalid_argument, "mesh.workers must be from 0 to 1024");
  const auto device = executor::device::parse(settings.worker.device);
  if (!device) return tl::unexpected(device.error());
  // Before a model runs on the CPU, as measuring does (executor/model.hpp). What the CPU's cores do says nothing of a
  // GPU.
  if (auto ready = executor::prepare_device(*device); !ready) return tl::unexpected(ready.error());
  if (device->type != executor::device::kind::cpu) {
    if (settings.workers == 0) settings.workers = 1;
    if (settings.worker.threads == 0) settings.worker.threads = 1;
  }
  executor::bound_primitive_caches(settings.worker.primitive_cache);
  auto cores = worker::parse_cores(settings.worker.cores.empty() ? "auto" : settings.worker.cores);
  if (!cores) return fail(cores.error().code, "worker.cores: " + cores.error().message);
  auto models = executor::scan_models(settings.worker.models);
  if (!models) return tl::unexpected(models.error());
  const auto found = worker::calibrate(std::move(*models), *cores, static_cast<std::size_t>(settings.workers),
                                       settings.worker.threads);
  spdlog::info("{}", found.sentence);
  std::vector<worker_settings> all(found.chosen.workers, settings.worker);
  const auto shares = worker::divide(*cores, all.size());
  for (std::size_t w = 0; w < all.size(); ++w) {
    all[w].threads = found.chosen.threads;
    all[w].cores = text_of(shares[w]);
    if (w > 0 && !all[w].metrics.empty()) all[w].metrics = "127.0.0.1:0";  // the first has the port that was asked for
  }
  return all;
}

mesh_settings::mesh_settings() {
  gateway.schedulers = {scheduler_address};
  scheduler.listen = {scheduler_address};
  scheduler.metrics = "127.0.0.1:0";
  worker.schedulers = {scheduler_address};
  worker.gateways = {gateway_address};
  worker.metrics = "127.0.0.1:0";
  cache.listen = {cache_address};
  cache.schedulers = {scheduler_address};
  cache.metrics = "127.0.0.1:0";
  precision.listen = {precision_address};
  precision.schedulers = {scheduler_address};
  precision.metrics = "127.0.0.1:0";
  worker.planners = {precision_address};
  // A mesh of one process shares its weights with nobody: files outside its model directory are only written if asked.
  cache.dram.clear();
  cache.ssd.clear();
  scheduler.profiles.clear();
  worker.threads = 0;
}

void mesh_settings::declare(config& keys) {
  gateway.declare(keys);
  scheduler.declare(keys);
  worker.declare(keys);
  cache.declare(keys);
  precision.declare(keys);
  access.declare(keys);
  keys.key("mesh", "workers", &workers, "workers in this process; 0: measured at start, as is worker.threads = 0");
  keys.key("mesh", "run_directory", &run_directory,
           "with --processes: where its services meet; empty: $XDG_RUNTIME_DIR/shoal or /tmp/shoal-<uid>");
  keys.key("mesh", "watchdog_ms", &watchdog, "with --processes: a service silent for so long is replaced; 0: never");
  keys.key("log", "level", &log_level, "trace, debug, info, warning or error");
}

expected<void> run_mesh(mesh_settings settings, signals& ending) {
  settings.gateway.listen.push_back(gateway_address);
  settings.gateway.models = settings.worker.models;
  settings.gateway.access = settings.access;
  settings.gateway.arrive = milliseconds(0);  // the workers are started after it, from here
  // The others meet inside this process, where nobody else is.
  const access_settings within{{}, {}, settings.access.clear};
  settings.scheduler.access = settings.worker.access = settings.cache.access = settings.precision.access = within;
  auto plan = plan_workers(settings);
  if (!plan) return tl::unexpected(plan.error());
  actor_config config;
  caf::actor_system system(config);
  auto scheduler = scheduler_service::start(system, settings.scheduler);
  if (!scheduler) return tl::unexpected(scheduler.error());
  auto gateway = gateway_service::start(system, settings.gateway);
  if (!gateway) return tl::unexpected(gateway.error());
  auto cache = start_cache(system, settings);
  settings.precision.models = settings.worker.models;
  settings.precision.threads = plan->front().threads;
  settings.precision.device = plan->front().device;
  auto precision = precision_service::start(system, settings.precision);
  if (!precision) return tl::unexpected(precision.error());
  std::vector<std::unique_ptr<worker_service>> workers;
  for (auto& each : *plan) {
    if (cache) {
      each.caches = {cache_address};
      each.dram = settings.cache.dram;
    }
    auto worker = worker_service::start(system, each);
    if (!worker) return tl::unexpected(worker.error());
    workers.push_back(std::move(*worker));
  }

  const auto serves = wait_until_ready(**gateway, workers.front()->models_found(), ending);
  if (serves && *serves) {
    print_ready(**gateway);
    while (ending.wait(std::chrono::hours(1)) == 0) {
    }
  }
  spdlog::info("draining");
  // In the order of a request's way: no new ones, then those in flight, then the workers that ran them.
  (*gateway)->stop();
  for (auto& worker : workers) worker->stop();
  (*precision)->stop();
  if (cache) cache->stop();
  (*scheduler)->stop();
  if (!serves) return tl::unexpected(serves.error());
  return {};
}

}  // namespace shoal::services
