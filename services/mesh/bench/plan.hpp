// What `shoal bench` is asked to do: as typed, and checked.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/mesh/bench/arrivals.hpp"
#include "services/mesh/bench/mix.hpp"
#include "services/mesh/bench/numbers.hpp"
#include "services/mesh/bench/requests.hpp"
#include "services/mesh/bench/target.hpp"

namespace shoal::services::bench {

/// As typed. Times are in seconds unless they say otherwise.
struct bench_options {
  target_options at;
  double timeout = 10;  ///< for the server to describe its models, and to answer a first request of each
  std::vector<std::string> models;
  std::vector<std::string> rates;
  std::string arrivals = "poisson";
  std::int64_t seed = 1;
  double duration = 10, warmup = 2, drain = 10;
  std::int64_t closed = 0;
  std::string search;
  request_options requests;
  double deadline_ms = 0;
};

struct plan {
  target_options at;
  std::vector<stream> streams;
  std::vector<double> rates;  ///< empty: a trace at its own rate, or a closed loop
  std::string arrivals;       ///< poisson, constant, or a file
  std::shared_ptr<const std::vector<nanoseconds>> trace;
  std::uint64_t seed = 1;
  nanoseconds duration{}, warmup{}, drain{};
  std::size_t closed = 0;  ///< requests in flight; 0: open loop
  std::optional<bound> search;
  request_options requests;
  microseconds deadline{};  ///< zero: none

  /// The arrivals of a run at `rate`.
  [[nodiscard]] std::unique_ptr<bench::arrivals> arrivals_at(double rate) const;
  /// How many requests of a run at `rate` count, about.
  [[nodiscard]] double requests_at(double rate) const;
};

/// Errors: invalid_argument, not_found (a file of arrivals).
expected<plan> read_plan(const bench_options& typed);

}  // namespace shoal::services::bench
