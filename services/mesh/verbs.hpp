// The verbs of `shoal` that ask a running mesh, over the native protocol. Each prints its answer to standard output,
// for people or as one JSON object.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "services/host/program.hpp"

namespace shoal::link {
class client;
}

namespace shoal::services {

struct client_arguments {
  std::string endpoint = "tcp://127.0.0.1:8002";
  double seconds = 10;
  bool json = false;

  [[nodiscard]] milliseconds timeout() const;
};

/// Reaches the mesh. Errors: invalid_argument (the address), unavailable, both with what to do.
expected<std::unique_ptr<link::client>> reach(const client_arguments& client);

struct infer_arguments {
  std::string model;  ///< "name" or "name/version"
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::string priority = "standard";
};

expected<void> show_models(const client_arguments& client);

/// Only of services of this kind, with what is zero as well; empty: of all, without that.
expected<void> show_status(const client_arguments& client, const std::string& only);

/// Inputs are JSON arrays, read as the model's spec says; outputs are printed as JSON.
expected<void> run_inference(const client_arguments& client, const infer_arguments& request);

struct manage_arguments {
  std::string model;  ///< "name" or "name/version"
  bool replace = false;
};

/// `shoal load`, `shoal unload`: prints a line for every worker. Error: the first worker's, if any did not do it.
expected<void> load_model(const client_arguments& client, const manage_arguments& request);
expected<void> unload_model(const client_arguments& client, const manage_arguments& request);

struct bench_arguments {
  std::string model;                 ///< "name" or "name/version"
  std::vector<double> rates;         ///< requests per second, one run for each
  std::size_t closed = 0;            ///< in flight, instead of a rate
  std::string arrivals = "poisson";  ///< or constant, or a file of times
  std::string requests;              ///< file of JSON lines; empty: ones
  std::int64_t length = 16;          ///< of ones, along free dimensions but the first
  double duration = 10;              ///< seconds
  double warm_up = 1;                ///< seconds
  double deadline_ms = 0;            ///< zero: the server's own
  std::string priority = "standard";
  std::size_t connections = 512;
  std::uint64_t seed = 1;
};

/// `shoal bench`: load for one model through the native or an HTTP door (`client.endpoint`: tcp://, ipc:// or http://),
/// until it is over or a signal comes.
expected<void> run_bench(const client_arguments& client, const bench_arguments& wanted, signals& ending);

struct top_arguments {
  double interval = 2;  ///< seconds between two looks
  bool once = false;
};

/// `shoal top`: what the mesh does now, again and again on a terminal until a signal comes; once where there is none. A
/// mesh that goes away on a terminal is waited for.
expected<void> show_top(const client_arguments& client, const top_arguments& wanted, signals& ending);

}  // namespace shoal::services
