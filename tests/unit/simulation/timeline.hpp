// The one clock and the one source of chance of a simulated world: what shall happen, in order of its time; of equal
// times, in the order in which it was asked for. The same seed and the same calls give the same run.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "core/clock.hpp"

namespace shoal::test {

inline steady::duration in_seconds(double s) {
  return std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(s));
}

class timeline {
 public:
  explicit timeline(std::uint64_t seed) : random_(seed) {}
  timeline(const timeline&) = delete;
  timeline& operator=(const timeline&) = delete;

  [[nodiscard]] time_point now() const { return now_; }
  [[nodiscard]] double seconds() const { return std::chrono::duration<double>(now_ - start).count(); }

  void at(time_point when, std::function<void()> what) {
    heap_.push_back({std::max(when, now_), ++order_, std::move(what)});
    std::push_heap(heap_.begin(), heap_.end());
  }
  void after(steady::duration wait, std::function<void()> what) { at(now_ + wait, std::move(what)); }

  void run(time_point until) {
    while (!heap_.empty() && heap_.front().when <= until) {
      std::pop_heap(heap_.begin(), heap_.end());
      auto next = std::move(heap_.back());
      heap_.pop_back();
      now_ = next.when;
      next.what();
    }
    now_ = std::max(now_, until);
  }

  double between(double a, double b) { return std::uniform_real_distribution(a, b)(random_); }
  /// Uniform in [0, n).
  std::size_t below(std::size_t n) { return n <= 1 ? 0 : static_cast<std::size_t>(random_() % n); }
  bool chance(double p) { return p > 0 && between(0, 1) < p; }
  steady::duration between(steady::duration a, steady::duration b) {
    return a + steady::duration(static_cast<std::int64_t>(between(0, 1) * static_cast<double>((b - a).count())));
  }
  /// To the next of events that come `rate` times a second.
  steady::duration until_next(double rate) { return in_seconds(std::exponential_distribution(rate)(random_)); }
  template <class Of>
  const auto& one_of(const Of& these) {
    return these[below(these.size())];
  }
  std::uint64_t word() { return random_(); }

  static constexpr time_point start{std::chrono::hours(1)};

 private:
  struct event {
    time_point when;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const event& other) const { return std::pair(when, order) > std::pair(other.when, other.order); }
  };
  std::mt19937_64 random_;
  time_point now_ = start;
  std::vector<event> heap_;
  std::uint64_t order_ = 0;
};

}  // namespace shoal::test
