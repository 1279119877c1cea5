// How long something usually takes, and after what time it may be taken to be lost: Jacobson's estimator of round trips
// (RFC 6298 §2: weights of 1/8 and 1/4, mean + 4 mean deviations). Seconds throughout.
#pragma once

#include <chrono>
#include <cmath>

#include "core/clock.hpp"

namespace shoal {

class timeout_estimate {
 public:
  explicit timeout_estimate(double mean = 0, double deviation = 0) : mean_(mean), deviation_(deviation) {}

  void note(steady::duration took) {
    const auto seconds = std::chrono::duration<double>(took).count();
    deviation_ += (std::abs(seconds - mean_) - deviation_) / 4;
    mean_ += (seconds - mean_) / 8;
  }
  [[nodiscard]] steady::duration timeout() const {
    return std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(mean_ + 4 * deviation_));
  }

 private:
  double mean_, deviation_;
};

}  // namespace shoal
