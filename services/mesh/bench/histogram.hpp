// Latencies as counts in log-linear buckets: the HDR histogram of Gil Tene (http://hdrhistogram.org, HdrHistogram by
// G. Tene, public domain), written anew for one range: 1 us to 1 h with 3 significant digits.
//
// Values below 2048 us have a bucket each. From there on every power of two is cut into 1024 buckets of equal width:
// with s = max(0, floor(log2(v)) - 10), value v lies in bucket
//
//     index(v) = 1024 s + (v >> s)            lowest value 2^s (index - 1024 s), width 2^s
//
// so that a bucket is never wider than 1/1024 of the values in it. Two histograms add up bucket by bucket. Memory grows
// with the largest value: at most 23 x 1024 counts, 184 KiB. Owned by one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

namespace shoal::services::bench {

class histogram {
 public:
  static constexpr std::uint64_t lowest = 1;               ///< us
  static constexpr std::uint64_t highest = 3'600'000'000;  ///< us: 1 h

  /// What is outside of the range is counted at its end.
  void record(std::chrono::nanoseconds latency);
  void record_us(std::uint64_t value);
  void merge(const histogram& other);
  void clear();

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// In us, exact; 0 if nothing was recorded.
  [[nodiscard]] std::uint64_t min() const noexcept { return count_ == 0 ? 0 : min_; }
  [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
  [[nodiscard]] double mean() const noexcept;
  /// In us: the largest value of the bucket that holds the ceil(p/100 x count)-th value, but never above `max`, as
  /// HdrHistogram's getValueAtPercentile does. `p` in [0, 100]. 0 if nothing was recorded.
  [[nodiscard]] std::uint64_t percentile(double p) const;

  /// (lowest value in us, count) of every bucket that is not empty, in order.
  [[nodiscard]] std::vector<std::pair<std::uint64_t, std::uint64_t>> buckets() const;

 private:
  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t min_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace shoal::services::bench
