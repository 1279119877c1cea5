// What `shoal up --processes` runs: every service with its command line and addresses, made once at the start by the
// executable `shoal` and handed to `shoal-supervisor`, which takes the process over and knows nothing of models.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace shoal::services {

struct planned_service {
  std::string service;  ///< gateway, scheduler, worker, cache
  int number = 1;
  std::vector<std::string> command;
  std::string endpoint;            ///< in the run directory; empty: none (workers)
  std::vector<std::string> doors;  ///< native addresses for clients outside the run directory
  milliseconds stop_time{};        ///< what it may take from SIGTERM to its end

  [[nodiscard]] std::string name() const { return service + "-" + std::to_string(number); }
};

struct process_plan {
  std::string run;        ///< the run directory
  std::vector<int> held;  ///< inherited descriptors that hold its lock and the doors: only kept
  std::string http;       ///< HOST:PORT of the HTTP door; empty: none
  std::string grpc;       ///< HOST:PORT of the gRPC door; empty: none
  std::size_t models = 0;
  milliseconds watchdog{};  ///< a service that is silent for so long is frozen; 0: never
  std::string log_level;
  std::vector<planned_service> services;

  [[nodiscard]] std::string to_json() const;
  /// Error: invalid_argument.
  static expected<process_plan> from_json(const std::string& text);
};

/// How many of each service, from `--scale worker=2 …`. Error: invalid_argument.
using scale = std::map<std::string, int>;
expected<scale> parse_scale(const std::vector<std::string>& given);

}  // namespace shoal::services
