// How a scheduler does with what this gateway gives it. A process that lives and says so in time, but whose messages
// come late or get lost (a network that is full, an address that only hears), is noticed by heartbeats late or never;
// here, by what becomes of requests:
//
//   slow     the way of its requests, which is their time but for what they waited in its queue and were computed, is
//            `slower` times that of another scheduler's
//   silent   requests are there, and for longer than answers ever took (mean + 4 mean deviations, as the timeout of RFC
//   6298)
//            none has come, while another scheduler's come
//
// Such a one is set aside for a while, as Envoy does it with hosts (outlier detection,
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier). Owned by the gateway's mind.
#pragma once

#include <algorithm>
#include <optional>

#include "core/back_off.hpp"
#include "core/clock.hpp"
#include "core/timeout_estimate.hpp"

namespace shoal::gateway {

class standing {
 public:
  // Of requests there.
  void given(time_point now) {
    if (under_way_++ == 0) wait_from(now);
  }
  void gone() { --under_way_; }
  /// One of them was answered, `latency` after it was given; `way` of it: nothing if it was refused.
  void answered(steady::duration latency, std::optional<steady::duration> way, time_point now) {
    wait_from(now);
    if (!way) return;
    usual_.note(latency);
    way_ += (std::chrono::duration<double>(*way).count() - way_) / 8;
    ++answers_;
  }
  /// Something else explains that no answers come until then.
  void excused(time_point until) { wait_from(until); }

  /// Longer than this without an answer, with requests there, is silence; nothing: too few answers to know.
  [[nodiscard]] std::optional<time_point> silent_from() const {
    constexpr std::uint64_t enough = 32;
    constexpr milliseconds least{500};
    if (under_way_ == 0 || answers_ < enough) return std::nullopt;
    return waits_since_ + std::max<steady::duration>(least, usual_.timeout());
  }
  [[nodiscard]] bool is_silent(time_point now) const {
    const auto from = silent_from();
    return from && *from <= now;
  }
  [[nodiscard]] bool is_slower_than(const standing& other) const {
    constexpr double slower = 4, least = 0.2;
    return way_ > std::max(least, slower * other.way_);
  }

  [[nodiscard]] bool is_aside(time_point now) const { return now < aside_until_; }
  /// For 5 s, and twice as long each time that it follows soon, at most 300 s. It begins anew afterwards.
  void set_aside(time_point now) {
    constexpr milliseconds first{5000}, longest{300000};
    if (now - aside_until_ > longest) times_ = 0;
    aside_until_ = now + doubled(first, times_++, longest);
    usual_ = timeout_estimate();
    way_ = 0;
    answers_ = 0;
  }

 private:
  void wait_from(time_point when) { waits_since_ = std::max(waits_since_, when); }

  std::size_t under_way_ = 0;
  time_point waits_since_{};  ///< the last answer, or the first request since there was none under way, or an excuse
  timeout_estimate usual_;    ///< of answers
  double way_ = 0;            ///< seconds
  std::uint64_t answers_ = 0;
  time_point aside_until_{};
  unsigned times_ = 0;
};

}  // namespace shoal::gateway
