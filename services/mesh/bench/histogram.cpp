#include "services/mesh/bench/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace shoal::services::bench {

namespace {

constexpr microseconds longest = std::chrono::hours(1);

}  // namespace

std::size_t histogram::index_of(std::uint64_t value) {
  constexpr std::uint64_t exact = std::uint64_t{1} << precision;
  if (value < exact) return value;
  const auto shift = std::bit_width(value) - 1 - precision;
  return exact * static_cast<std::uint64_t>(shift + 1) + ((value >> shift) - exact);
}

std::uint64_t histogram::highest_of(std::size_t index) {
  constexpr std::uint64_t exact = std::uint64_t{1} << precision;
  if (index < exact) return index;
  const auto shift = index / exact - 1;
  return ((exact + index % exact + 1) << shift) - 1;
}

void histogram::add(microseconds latency) {
  latency = std::clamp(latency, microseconds::zero(), longest);
  const auto index = index_of(static_cast<std::uint64_t>(latency.count()));
  if (index >= counts_.size()) counts_.resize(index + 1);
  ++counts_[index];
  ++count_;
  largest_ = std::max(largest_, latency);
  sum_ += static_cast<double>(latency.count());
}

void histogram::merge(const histogram& other) {
  if (counts_.size() < other.counts_.size()) counts_.resize(other.counts_.size());
  for (std::size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  largest_ = std::max(largest_, other.largest_);
  sum_ += other.sum_;
}

microseconds histogram::quantile(double q) const {
  const auto wanted = static_cast<std::uint64_t>(std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= std::max<std::uint64_t>(wanted, 1))
      return std::min(largest_, microseconds(static_cast<std::int64_t>(highest_of(i))));
  }
  return largest_;
}

}  // namespace shoal::services::bench
