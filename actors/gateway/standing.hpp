// How a scheduler does with what this gateway gives it. A process that lives and says so in time, but whose messages
// come late or get lost (a network that is full, an address that only hears), is noticed by heartbeats late or never;
// here, by what becomes of requests:
//
//   slow     the way of its requests, which is their time but for what they waited in its queue and were computed, is
//            `slower` times that of another scheduler's; of what it usually is, if the other one's is not known
//   silent   several requests are there, and for twice as long as its longest pause of late no answer has come, while
//            another scheduler serves. How long answers take says less: they wait in a queue, and go on coming. A
//            request or two may just take long; where few are there, some have had no answer by their deadlines.
//
// Such a one is set aside for a while, as Envoy does it with hosts (outlier detection,
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier). Owned by the gateway's mind.
#pragma once

#include <algorithm>
#include <optional>

#include "core/back_off.hpp"
#include "core/clock.hpp"
#include "core/recent_longest.hpp"

namespace shoal::gateway {

class standing {
 public:
  // Of requests there.
  void given(time_point now) {
    if (under_way_ == 0) paused_since_ = std::max(paused_since_, now);
    if (under_way_++ < several) wait_from(now);
  }
  void gone() { --under_way_; }
  /// One of them has its outcome; `well`: it is an answer. And its way, where that says something of the scheduler.
  void answered(bool well, std::optional<steady::duration> way, time_point now) {
    pauses_.note(now - paused_since_, now);
    paused_since_ = std::max(paused_since_, now);
    wait_from(now);
    if (well) ++answers_;
    expired_ = 0;
    if (!way || now < excused_until_) return;
    constexpr double longest = 0.4;  // one answer alone says nothing, nor do two
    const auto seconds = std::min(longest, std::chrono::duration<double>(*way).count());
    way_ += (seconds - way_) / 8;
    usual_way_ += (seconds - usual_way_) / static_cast<double>(std::min(++ways_, few_hundred));
    ++measured_;
  }
  /// One of them, given then, has none by its deadline.
  void expired(time_point given, time_point now) {
    if (now >= excused_until_ && now - given >= least_silence) ++expired_;
  }
  /// Something else explains that no answers come until then, or late.
  void excused(time_point until) {
    wait_from(until);
    paused_since_ = std::max(paused_since_, until);
    excused_until_ = std::max(excused_until_, until);
    expired_ = 0;
  }

  /// Longer than this without an answer, with requests there, is silence; nothing: too few answers to know.
  [[nodiscard]] std::optional<time_point> silent_from() const {
    const auto longest = std::max<steady::duration>(least_silence, 2 * pauses_.longest());
    if (under_way_ >= several && answers_ >= enough) return waits_since_ + longest;
    if (expired_ >= few) return paused_since_ + longest;
    return std::nullopt;
  }
  [[nodiscard]] bool is_silent(time_point now) const {
    const auto from = silent_from();
    return from && *from <= now;
  }
  /// 0.1 s is little to a client, but where messages wait that long, the queue behind them soon is seconds.
  [[nodiscard]] bool is_slower_than(const standing& other) const {
    constexpr double slower = 4, least = 0.1;
    return way_ > std::max(least, slower * (other.measured_ < enough ? usual_way_ : other.way_));
  }

  [[nodiscard]] bool is_aside(time_point now) const { return now < aside_until_; }
  /// Worth a try again if there is none that is better: it was set aside for this long already, or is not.
  [[nodiscard]] bool may_be_better(time_point now) const { return !is_aside(now) || now - aside_since_ >= first; }
  /// The more the rather it is given something: `max` if it is not set aside, or how long ago it was.
  [[nodiscard]] steady::duration rank(time_point now) const {
    return is_aside(now) ? now - aside_since_ : steady::duration::max();
  }
  /// For 5 s, and twice as long each time that it follows soon, at most 300 s. It begins anew afterwards.
  void set_aside(time_point now) {
    constexpr milliseconds longest{300000};
    if (now - aside_until_ > longest) times_ = 0;
    aside_since_ = now;
    aside_until_ = now + doubled(first, times_++, longest);
    pauses_ = recent_longest();
    way_ = 0;
    answers_ = measured_ = 0;
    expired_ = 0;
  }

 private:
  static constexpr std::size_t several = 8, few = 3;  ///< requests
  static constexpr milliseconds least_silence{500};
  static constexpr milliseconds first{5000};                      ///< time aside
  static constexpr std::uint64_t enough = 32, few_hundred = 256;  ///< answers

  void wait_from(time_point when) { waits_since_ = std::max(waits_since_, when); }

  std::size_t under_way_ = 0, expired_ = 0;  ///< the latter in a row
  time_point paused_since_{};  ///< the last answer, or the first request since there was none, or an excuse
  time_point waits_since_{};   ///< the last answer, or request while there were few, or an excuse
  recent_longest pauses_;      ///< between answers, while requests were there
  double way_ = 0;             ///< seconds
  std::uint64_t answers_ = 0, measured_ = 0;  ///< since it was set aside; those whose way was
  double usual_way_ = 0;                      ///< seconds; not begun anew when it is set aside
  std::uint64_t ways_ = 0;
  time_point excused_until_{};
  time_point aside_since_{}, aside_until_{};
  unsigned times_ = 0;
};

}  // namespace shoal::gateway
