// How long to wait before the next try of what has failed several times in a row.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/clock.hpp"

namespace shoal {

/// `first`, doubled for each of the `times` before, at most `longest`.
template <class Duration>
constexpr Duration doubled(Duration first, unsigned times, Duration longest) {
  constexpr unsigned most_doublings = 20;  // of an hour in nanoseconds, too
  return std::min(longest, first * (std::int64_t{1} << std::min(times, most_doublings)));
}

}  // namespace shoal
