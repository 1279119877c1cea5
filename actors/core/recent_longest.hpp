// The longest of the durations of late: of the last 10 to 20 s, seen from the last one that was noted.
#pragma once

#include <algorithm>

#include "core/clock.hpp"

namespace shoal {

class recent_longest {
 public:
  void note(steady::duration took, time_point now) {
    if (now - began_ >= span) {
      before_ = now - began_ < 2 * span ? longest_ : steady::duration::zero();
      longest_ = steady::duration::zero();
      began_ = now;
    }
    longest_ = std::max(longest_, took);
  }
  /// Zero: none.
  [[nodiscard]] steady::duration longest() const { return std::max(longest_, before_); }

 private:
  static constexpr std::chrono::seconds span{10};

  time_point began_{};
  steady::duration longest_{}, before_{};  ///< since then; of the span before it
};

}  // namespace shoal
