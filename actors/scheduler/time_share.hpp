// The part of its workers' time that a scheduler gets while it keeps them in work; the rest goes to other schedulers,
// and into what lies between two batches. Measured, over the last second or so, from the end of a batch to the end of
// the next one where something waited all the while; all of it as long as nothing is measured.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/clock.hpp"

namespace shoal::scheduler {

class time_share {
 public:
  /// Of the time `of` of one worker, which is over now. Much more than is got is no other scheduler's: somebody stood
  /// still.
  void note(steady::duration got, steady::duration of, time_point now) {
    const auto left = left_at(now);
    of = std::min(of, got + std::max<steady::duration>(std::chrono::milliseconds(100), 3 * got));
    got_ = got_ * left + seconds(std::min(got, of));
    of_ = of_ * left + seconds(of);
    as_of_ = now;
  }
  /// Of so many workers: 0 to 1.
  [[nodiscard]] double part(std::size_t workers, time_point now) const {
    constexpr double believed = 0.02;  // seconds of each worker, as if all of them had been got
    const auto left = left_at(now), all = believed * static_cast<double>(std::max<std::size_t>(workers, 1));
    return (got_ * left + all) / (of_ * left + all);
  }

 private:
  static double seconds(steady::duration time) { return std::chrono::duration<double>(time).count(); }
  [[nodiscard]] double left_at(time_point now) const {
    constexpr std::chrono::duration<double> window{1};
    return std::exp(-std::max(0.0, std::chrono::duration<double>(now - as_of_) / window));
  }

  double got_ = 0, of_ = 0;  ///< seconds
  time_point as_of_{};
};

}  // namespace shoal::scheduler
