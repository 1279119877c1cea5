// One run at one rate: sends what is due, hears what ended, counts. Everything is done by one thread, which sleeps in
// target::poll until the next request is due or one has ended.
//
// The loop is open: a request is sent when it is due, however many are in flight, and its latency is counted from when
// it was due, not from when it was sent. A server (or a generator) that stalls therefore shows in the latency of every
// request that was due meanwhile. Counting from the sending instead leaves these out ("coordinated omission": Gil Tene,
// How NOT to Measure Latency, 2013). How late the generator itself was is counted as `lag`.
//
// A closed loop (`in_flight`) sends the next request when one has ended. It finds the rate at which a server is
// saturated; its latencies say nothing about users who do not wait for each other.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "services/mesh/bench/arrivals.hpp"
#include "services/mesh/bench/mix.hpp"
#include "services/mesh/bench/tally.hpp"
#include "services/mesh/bench/target.hpp"

namespace shoal::services::bench {

struct schedule {
  double rate = 0;                 ///< requests per second; what `due` has as its mean
  std::unique_ptr<arrivals> due;   ///< null: a closed loop
  std::size_t in_flight = 0;       ///< of a closed loop
  nanoseconds warmup{};            ///< from the start: sent, not counted
  nanoseconds duration{};          ///< after it: sent and counted
  nanoseconds drain{};             ///< then: how long to wait for what is in flight
  microseconds deadline{};         ///< of a request, from when it was due; zero: none
  std::vector<std::size_t> sizes;  ///< bytes of the prepared requests
};

/// One second of the counted time, or of the drain after it. Answers are in the second in which they came.
struct second {
  std::uint64_t sent = 0;
  std::uint64_t ok = 0;
  std::uint64_t failed = 0;
  std::uint64_t p50 = 0, p99 = 0;  ///< us, of ok
};

/// How the run is going, for people who wait.
struct progress {
  double seconds = 0, of = 0;  ///< since the start; when sending ends
  double rate = 0;             ///< that is offered
  second last;                 ///< the last second
  std::size_t in_flight = 0;
  std::uint64_t failed = 0;
  bool warming = false, draining = false;
};

struct result {
  double rate = 0;                              ///< requests per second that were to be offered; 0: closed loop
  std::size_t closed = 0;                       ///< requests in flight of a closed loop; 0: open loop
  std::chrono::system_clock::time_point began;  ///< from when on it was counted
  double seconds = 0;                           ///< counted time
  double offered = 0;                           ///< requests per second that were due, in the counted time
  double throughput = 0;     ///< requests per second that were answered in the counted time, warm-up's included
  bool interrupted = false;  ///< ended before its time
  std::uint64_t unsent = 0;  ///< were due, but the generator did not get to them
  std::size_t most_in_flight = 0;
  std::vector<tally> streams;  ///< as those of the mix
  histogram lag;               ///< us that requests were sent late, by the generator's own fault; open loop only
  std::vector<second> seconds_list;

  [[nodiscard]] tally total() const;
  /// 0 if no time was counted.
  [[nodiscard]] double per_second(std::uint64_t count) const;
  /// The generator was more than 10 ms late at p99, or did not send all: what was measured is its own slowness.
  [[nodiscard]] bool generator_was_late() const;
};

struct watcher {
  std::function<bool()> stop;                 ///< looked at 20 times a second; may be empty
  std::function<void(const progress&)> tell;  ///< once a second; may be empty
};

/// Leaves nothing in flight that it still waits for.
result run(target& on, mix& what, schedule plan, const watcher& watched);

}  // namespace shoal::services::bench
