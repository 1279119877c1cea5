// What became of the requests of one stream. A request is counted if it was due after the warm-up; each is in exactly
// one of ok, failures and no_outcome once a run is over.
#pragma once

#include <array>
#include <string>

#include "core/error.hpp"
#include "services/mesh/bench/histogram.hpp"

namespace shoal::services::bench {

struct tally {
  static constexpr std::size_t codes = 13;  ///< of errc

  std::uint64_t sent = 0;
  std::uint64_t ok = 0;
  std::uint64_t in_time = 0;   ///< of ok: within the deadline; without one, all
  std::uint64_t answered = 0;  ///< answers that came in the counted time, the warm-up's included: of throughput
  std::uint64_t no_outcome = 0;
  std::uint64_t second_tries = 0;  ///< of ok and failures: sent once more, because the connection broke
  std::array<std::uint64_t, codes> failures{};
  std::array<std::string, codes> reasons;  ///< what the first failure of each code said

  histogram latency;   ///< of ok: from when it was due
  histogram service;   ///< of ok: from when it was written; without waiting for a connection
  histogram refusals;  ///< from when it was due, of refused ones
  histogram failing;   ///< from when it was due, of all that failed

  std::uint64_t bytes_sent = 0;      ///< bodies
  std::uint64_t bytes_received = 0;  ///< bodies of answers

  void fail(errc code, const std::string& reason);
  void merge(const tally& other);
  [[nodiscard]] std::uint64_t failed() const noexcept;  ///< with the refused, without those of no outcome
  [[nodiscard]] std::uint64_t refused() const noexcept;
  /// Failures and no outcomes, of what was sent; 0 if nothing was.
  [[nodiscard]] double failure_ratio() const noexcept;
};

/// The server said that it takes no more for now: overloaded, unavailable.
constexpr bool is_refusal(errc code) noexcept { return code == errc::overloaded || code == errc::unavailable; }

}  // namespace shoal::services::bench
