// All services in one process, joined over inproc: the embedded default, `shoal up`. The same actors and the same link
// as with a process each, only the addresses differ.
#pragma once

#include "core/config.hpp"
#include "services/cache/cache_service.hpp"
#include "services/gateway/gateway_service.hpp"
#include "services/host/program.hpp"
#include "services/precision/precision_service.hpp"
#include "services/scheduler/scheduler_service.hpp"
#include "services/worker/worker_service.hpp"

namespace shoal::services {

struct mesh_settings {
  gateway_settings gateway;
  scheduler_settings scheduler;
  worker_settings worker;  ///< `threads` 0: measured at start
  cache_settings cache;    ///< runs if cache.dram or cache.ssd is set
  precision_settings precision;
  access_settings access;
  int workers = 0;  ///< 0: measured at start
  std::string log_level = "info";
  std::string run_directory;  ///< of processes; empty: the user's own
  milliseconds watchdog{3000};

  mesh_settings();  ///< inproc between the services, free ports for their metrics
  /// The keys of every service's file, so that one file can serve the embedded mesh and single services alike.
  void declare(config& keys);
};

/// The settings of each worker: the models' measured split of the cores, or the one asked for. Loads LibTorch.
expected<std::vector<worker_settings>> plan_workers(mesh_settings settings);

/// Runs until a signal: prints a line beginning `ready` when a real inference has succeeded, drains in order at the
/// end. Errors: an address in use, a model directory that is not there, no model that could be loaded.
expected<void> run_mesh(mesh_settings settings, signals& ending);

}  // namespace shoal::services
