// What became of every request of a run, and whether that is what the mesh promises.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace shoal::test {

/// One request as its client saw it.
struct request_record {
  time_point sent{};
  milliseconds deadline{};  ///< from `sent`
  int outcomes = 0;
  time_point ended{};           ///< of the first outcome
  std::optional<errc> failure;  ///< nothing: it was answered
  bool is_right = false;        ///< the answer is that of the reference
  std::string said;             ///< by the failure
};

using history = std::vector<request_record>;

/// After its deadline, a request may take so long to be told its outcome.
inline constexpr milliseconds outcome_grace{250};

/// Everything that breaks a promise, a sentence each, with the number of the request: not exactly one outcome, one that
/// came later than deadline + grace, a wrong answer, a failure that death and freezing do not explain.
std::vector<std::string> broken_promises(const history& all, milliseconds grace = outcome_grace);

/// The longest time between `from` and the first answer after it, between two answers, and between the last answer and
/// `to`; failures do not count.
milliseconds longest_gap(const history& all, time_point from, time_point to);

}  // namespace shoal::test
