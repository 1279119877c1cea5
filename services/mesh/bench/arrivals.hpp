// When requests are sent, whatever became of those before: an open loop. A client that waited for answers would send
// less the slower its server is, and would not see how slow that is (coordinated omission).
#pragma once

#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace shoal::services::bench {

class arrivals {
 public:
  /// Exponential gaps, as of many clients who do not know of each other. Rates are in requests per second.
  static arrivals poisson(double rate, std::uint64_t seed);
  static arrivals constant(double rate);
  /// One time in seconds a line, from any start, in order. Errors: not_found, invalid_argument (which line).
  static expected<arrivals> from_file(const std::string& path);

  /// From the start of the run; nothing when a file is over.
  std::optional<steady::duration> next();

 private:
  enum class kind : std::uint8_t { poisson, constant, recorded };
  kind kind_ = kind::constant;
  double rate_ = 0;
  double at_ = 0;  ///< seconds
  std::mt19937_64 random_;
  std::vector<double> recorded_;
  std::size_t position_ = 0;
};

}  // namespace shoal::services::bench
