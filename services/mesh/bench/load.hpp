// The load generator: sends at the times that `arrivals` says, and measures each answer from the time at which its
// request was to be sent, so that a server that stalls is charged for everybody who would have come meanwhile.
#pragma once

#include <functional>
#include <map>

#include "services/mesh/bench/arrivals.hpp"
#include "services/mesh/bench/histogram.hpp"
#include "services/mesh/bench/target.hpp"

namespace shoal::services::bench {

struct load_options {
  steady::duration warm_up{};   ///< sent, not counted
  steady::duration duration{};  ///< of what is counted
  steady::duration drain{};     ///< how long answers are waited for after the last request
  microseconds deadline{};      ///< an answer that takes longer is no goodput; zero: none does
  std::uint64_t seed = 1;       ///< of which request is sent first
};

struct load_result {
  double offered = 0;  ///< requests per second that were to be sent
  double seconds = 0;  ///< of what is counted
  std::uint64_t sent = 0;
  std::uint64_t ok = 0;    ///< answered
  std::uint64_t good = 0;  ///< answered within the deadline
  std::uint64_t open = 0;  ///< without an outcome after `drain`
  std::map<errc, std::uint64_t> failed;
  histogram latency;     ///< of answers, from the intended time of sending
  histogram service;     ///< of answers, from the real one
  histogram refusals;    ///< of what was refused as overloaded, from the real time of sending
  histogram lag;         ///< how late requests were sent
  bool stopped = false;  ///< a signal ended it early
};

/// Time as the generator sees it; a test has its own.
struct timekeeper {
  std::function<time_point()> now = [] { return steady::now(); };
  /// False: the run is to end.
  std::function<bool(time_point)> sleep_until;
};

/// `requests`: how many `to` has prepared; they are sent in order, again and again. `progress` is called about once a
/// second with what has been sent, answered and failed.
using progress = std::function<void(std::uint64_t sent, std::uint64_t answered, std::uint64_t failed)>;
load_result run_load(target& to, std::size_t requests, arrivals when, const load_options& options,
                     const timekeeper& time, const progress& told = {});

/// A closed loop: `window` requests in flight for `options.duration`. Its latency is that of a client who waits, and
/// says nothing of how a server stands up to people who do not.
load_result run_closed(target& to, std::size_t requests, std::size_t window, const load_options& options,
                       const timekeeper& time);

}  // namespace shoal::services::bench
