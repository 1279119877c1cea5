#include "services/mesh/bench/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace shoal::services::bench {

namespace {

constexpr unsigned half_bits = 10;
constexpr std::uint64_t half = 1u << half_bits;

std::size_t index_of(std::uint64_t value) {
  const auto bits = static_cast<unsigned>(std::bit_width(value));
  const auto shift = bits > half_bits + 1 ? bits - half_bits - 1 : 0;
  return (shift << half_bits) + (value >> shift);
}

std::uint64_t width_of(std::size_t index) {
  return index < 2 * half ? 1 : std::uint64_t{1} << ((index >> half_bits) - 1);
}

std::uint64_t lowest_of(std::size_t index) {
  if (index < 2 * half) return index;
  const auto shift = (index >> half_bits) - 1;
  return (index - (shift << half_bits)) << shift;
}

}  // namespace

void histogram::record(std::chrono::nanoseconds latency) {
  record_us(static_cast<std::uint64_t>(std::max<std::int64_t>(0, (latency.count() + 500) / 1000)));
}

void histogram::record_us(std::uint64_t value) {
  value = std::clamp(value, lowest, highest);
  const auto index = index_of(value);
  if (index >= counts_.size()) counts_.resize(index + 1);
  ++counts_[index];
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  ++count_;
  sum_ += value;
}

void histogram::merge(const histogram& other) {
  if (other.count_ == 0) return;
  if (other.counts_.size() > counts_.size()) counts_.resize(other.counts_.size());
  for (std::size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  count_ += other.count_;
  sum_ += other.sum_;
}

void histogram::clear() {
  std::fill(counts_.begin(), counts_.end(), 0);
  count_ = sum_ = min_ = max_ = 0;
}

double histogram::mean() const noexcept {
  return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
}

std::uint64_t histogram::percentile(double p) const {
  if (count_ == 0) return 0;
  const auto part = std::clamp(p, 0.0, 100.0) / 100 * static_cast<double>(count_);
  // 99.9% of 1000 is 999, though 99.9 / 100 x 1000 is a little more in binary.
  const auto wanted = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(std::ceil(part - 1e-6)), 1, count_);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= wanted) return std::min(lowest_of(i) + width_of(i) - 1, max_);
  }
  return max_;
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> histogram::buckets() const {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> filled;
  for (std::size_t i = 0; i < counts_.size(); ++i)
    if (counts_[i] != 0) filled.emplace_back(lowest_of(i), counts_[i]);
  return filled;
}

}  // namespace shoal::services::bench
