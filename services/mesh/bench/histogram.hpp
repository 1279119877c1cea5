// How often each latency was seen: an HDR histogram (Gil Tene, https://hdrhistogram.org): buckets as wide as 1/128 of
// what they hold, so that any percentile is right to 0.8%, from 1 us to an hour, in 40 KiB. Merging is adding.
#pragma once

#include <cstdint>
#include <vector>

#include "core/clock.hpp"

namespace shoal::services::bench {

class histogram {
 public:
  void add(microseconds latency);
  void merge(const histogram& other);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  /// The largest value that a bucket of the fraction `q` (0 to 1) of all holds; zero for none.
  [[nodiscard]] microseconds quantile(double q) const;
  [[nodiscard]] microseconds largest() const { return largest_; }
  [[nodiscard]] double mean_us() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

 private:
  static constexpr int precision = 7;  ///< bits below the highest one that a bucket tells apart
  static std::size_t index_of(std::uint64_t value);
  static std::uint64_t highest_of(std::size_t index);

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  microseconds largest_{};
  double sum_ = 0;
};

}  // namespace shoal::services::bench
