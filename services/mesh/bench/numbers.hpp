// Numbers as they are typed after an option.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

namespace shoal::services::bench {

/// All of `text` as a finite number, or nothing.
std::optional<double> read_number(std::string_view text);

/// Rates in requests per second: "100", or "10:100:4", four from 10 to 100 at equal steps. Errors: invalid_argument
/// (not above 0, above 1e6, not a number).
expected<std::vector<double>> read_rates(const std::vector<std::string>& texts);

/// "p99<200ms" and the like: p50, p90, p99, p99.9, mean or max, below a time in us, ms or s.
struct bound {
  std::string of;    ///< "p99", "mean", "max"
  double p = 99;     ///< of a percentile
  double us = 0;     ///< the latency that is not reached
  std::string text;  ///< as it was typed
};
expected<bound> read_bound(const std::string& text);

/// p99.9 of fewer answers is (nearly) their maximum, and says nothing of the rate.
inline constexpr double fewest_answers_for_p99_9 = 1000;

/// `expected`: how many answers a step will have.
[[nodiscard]] bool stands_on(const bound& wanted, double expected) noexcept;

}  // namespace shoal::services::bench
