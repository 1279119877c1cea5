#include "services/mesh/bench/arrivals.hpp"

#include <cmath>
#include <random>
#include <utility>

namespace shoal::services::bench {

namespace {

nanoseconds from_seconds(double seconds) { return nanoseconds(std::llround(seconds * 1e9)); }

class poisson final : public arrivals {
 public:
  poisson(double rate, std::uint64_t seed) : rate_(rate), random_(seed) {}
  std::optional<nanoseconds> next() override {
    const auto u = static_cast<double>(random_() >> 11) * 0x1p-53;  // [0, 1)
    at_ -= std::log1p(-u) / rate_;
    return from_seconds(at_);
  }

 private:
  const double rate_;
  std::mt19937_64 random_;
  double at_ = 0;
};

class constant final : public arrivals {
 public:
  explicit constant(double rate) : rate_(rate) {}
  std::optional<nanoseconds> next() override { return from_seconds(static_cast<double>(count_++) / rate_); }

 private:
  const double rate_;
  std::uint64_t count_ = 0;
};

class recorded final : public arrivals {
 public:
  recorded(std::shared_ptr<const std::vector<nanoseconds>> offsets, double stretch)
      : offsets_(std::move(offsets)), stretch_(stretch) {}
  std::optional<nanoseconds> next() override {
    if (at_ == offsets_->size()) return std::nullopt;
    return nanoseconds(std::llround(static_cast<double>((*offsets_)[at_++].count()) * stretch_));
  }

 private:
  const std::shared_ptr<const std::vector<nanoseconds>> offsets_;
  const double stretch_;
  std::size_t at_ = 0;
};

}  // namespace

std::unique_ptr<arrivals> poisson_arrivals(double rate, std::uint64_t seed) {
  return std::make_unique<poisson>(rate, seed);
}

std::unique_ptr<arrivals> constant_arrivals(double rate) { return std::make_unique<constant>(rate); }

std::unique_ptr<arrivals> recorded_arrivals(std::shared_ptr<const std::vector<nanoseconds>> offsets, double rate) {
  const auto own = mean_rate(*offsets);
  return std::make_unique<recorded>(std::move(offsets), rate > 0 && own > 0 ? own / rate : 1.0);
}

double mean_rate(const std::vector<nanoseconds>& offsets) {
  if (offsets.size() < 2 || offsets.back() <= offsets.front()) return 0;
  return static_cast<double>(offsets.size() - 1) /
         std::chrono::duration<double>(offsets.back() - offsets.front()).count();
}

}  // namespace shoal::services::bench
