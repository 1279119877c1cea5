// When requests are due: an open-loop schedule, made without regard to answers. The same seed gives the same schedule
// on every machine: the standard library's distributions are not used, since each library has its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace shoal::services::bench {

using std::chrono::nanoseconds;

class arrivals {
 public:
  virtual ~arrivals() = default;
  /// Of the next request, from the start of the run; never before the one before. Nothing: there are no more.
  virtual std::optional<nanoseconds> next() = 0;
};

/// Independent arrivals: exponential gaps of mean 1/rate, by inversion: -ln(1 - u) / rate.
std::unique_ptr<arrivals> poisson_arrivals(double rate, std::uint64_t seed);
/// The k-th is due at k / rate.
std::unique_ptr<arrivals> constant_arrivals(double rate);
/// Those of a trace. With a `rate` above 0 its time is stretched so that its mean rate is that.
std::unique_ptr<arrivals> recorded_arrivals(std::shared_ptr<const std::vector<nanoseconds>> offsets, double rate);

/// Mean rate of a trace, in requests per second: its gaps by the time from its first arrival to its last; 0 if there is
/// no such time.
double mean_rate(const std::vector<nanoseconds>& offsets);

/// A trace: one arrival per line in seconds (not falling), or CSV whose header has a column TIMESTAMP of wall times
/// such as 2023-11-16 18:17:03.9799600, which become times from the first on. Errors: not_found (the file cannot be
/// read), invalid_argument with the line's number.
expected<std::vector<nanoseconds>> read_arrivals(const std::string& file);

}  // namespace shoal::services::bench
