#include "services/mesh/bench/run.hpp"

#include <algorithm>
#include <unordered_map>

namespace shoal::services::bench {

namespace {

using std::chrono::seconds;

constexpr milliseconds longest_sleep{50};
/// Sent one after another without listening, when several are due.
constexpr int burst = 16;
/// A generator that is behind by more at the end gives up what it has not sent.
constexpr seconds most_behind{1};
constexpr std::uint64_t late_us = 10'000;

double to_seconds(nanoseconds time) { return std::chrono::duration<double>(time).count(); }

class engine {
 public:
  engine(target& on, mix& what, schedule plan, const watcher& watched)
      : on_(on), what_(what), plan_(std::move(plan)), watched_(watched) {
    result_.rate = plan_.rate;
    result_.closed = plan_.due ? 0 : plan_.in_flight;
    result_.streams.resize(what.streams());
    begin_ = on_.now();
    result_.began = std::chrono::system_clock::now() + std::chrono::duration_cast<microseconds>(plan_.warmup);
    counted_from_ = begin_ + plan_.warmup;
    end_ = counted_from_ + plan_.duration;
    looked_ = begin_;
    second_from_ = begin_;
  }

  result operator()() {
    const bool all = plan_.due ? open_loop() : closed_loop();
    sent_until_ = std::min(on_.now(), end_);
    if (all) drain(end_ + plan_.drain);
    finish();
    return std::move(result_);
  }

 private:
  struct in_flight {
    std::size_t stream;
    time_point due;
    time_point sent;
    bool counted;
  };

  /// False: stopped.
  bool open_loop() {
    auto next = plan_.due->next();
    while (next && begin_ + *next < end_) {
      const auto now = on_.now();
      if (stopped(now)) return false;
      if (now > end_ + most_behind) break;
      for (int i = 0; i < burst && next && begin_ + *next <= on_.now() && begin_ + *next < end_; ++i) {
        send(begin_ + *next);
        next = plan_.due->next();
      }
      listen(next ? std::min(begin_ + *next, end_) : end_);
    }
    for (; next && begin_ + *next < end_; next = plan_.due->next()) ++result_.unsent;
    while (on_.now() < end_) {
      if (stopped(on_.now())) return false;
      listen(end_);
    }
    return true;
  }

  bool closed_loop() {
    for (auto now = on_.now(); now < end_; now = on_.now()) {
      if (stopped(now)) return false;
      for (int i = 0; i < burst && open_.size() < plan_.in_flight; ++i) send(on_.now());
      listen(open_.size() < plan_.in_flight ? now : end_);
    }
    return true;
  }

  void drain(time_point until) {
    draining_ = true;
    for (auto now = on_.now(); !open_.empty() && now < until; now = on_.now()) {
      if (stopped(now)) return;
      listen(until);
    }
  }

  void send(time_point due) {
    const auto [stream, prepared] = what_.next();
    const auto now = on_.now();
    const bool counted = due >= counted_from_;
    open_.emplace(on_.send(prepared), in_flight{stream, due, now, counted});
    result_.most_in_flight = std::max(result_.most_in_flight, open_.size());
    ++second_.sent;
    if (!counted) return;
    auto& count = result_.streams[stream];
    ++count.sent;
    count.bytes_sent += plan_.sizes[prepared];
    if (plan_.due) result_.lag.record(now - due);
  }

  void listen(time_point until) {
    heard_.clear();
    on_.poll(std::min(until, on_.now() + longest_sleep), heard_);
    for (auto& each : heard_) hear(each);
  }

  void hear(ended& what) {
    const auto found = open_.find(what.which);
    if (found == open_.end()) return;  // of a run before this one, which has given it up
    const auto request = found->second;
    open_.erase(found);
    close_seconds(what.at);
    const auto latency = what.at - request.due;
    if (what.failure) {
      ++second_.failed;
    } else {
      ++second_.ok;
      second_latency_.record(latency);
      if (what.at >= counted_from_ && what.at < end_) ++result_.streams[request.stream].answered;
    }
    if (!request.counted) return;
    auto& count = result_.streams[request.stream];
    if (what.second_try) ++count.second_tries;
    if (what.failure) {
      ++failed_;
      count.fail(*what.failure, what.reason);
      count.failing.record(latency);
      if (is_refusal(*what.failure)) count.refusals.record(latency);
      return;
    }
    ++count.ok;
    if (plan_.deadline.count() == 0 || latency <= plan_.deadline) ++count.in_time;
    count.latency.record(latency);
    count.service.record(what.at - request.sent - what.waited);
    count.bytes_received += what.bytes;
  }

  bool stopped(time_point now) {
    if (now - looked_ >= longest_sleep) {
      looked_ = now;
      close_seconds(now);
      if (watched_.stop && watched_.stop()) result_.interrupted = true;
    }
    return result_.interrupted;
  }

  /// Seconds begin with the counted time; those of the warm-up are told of, but not kept.
  void close_seconds(time_point now) {
    while (now - second_from_ >= seconds(1) || (second_from_ < counted_from_ && now >= counted_from_)) {
      const bool warming = second_from_ < counted_from_;
      second_.p50 = second_latency_.percentile(50);
      second_.p99 = second_latency_.percentile(99);
      if (!warming) result_.seconds_list.push_back(second_);
      second_from_ = warming ? std::min(second_from_ + seconds(1), counted_from_) : second_from_ + seconds(1);
      if (watched_.tell)
        watched_.tell({to_seconds(second_from_ - begin_), to_seconds(end_ - begin_), plan_.rate, second_, open_.size(),
                       failed_, warming, draining_});
      second_ = {};
      second_latency_.clear();
    }
  }

  void finish() {
    for (const auto& [which, request] : open_)
      if (request.counted) ++result_.streams[request.stream].no_outcome;
    if (!open_.empty()) on_.abandon();
    close_seconds(on_.now());
    if (second_.sent + second_.ok + second_.failed > 0 && second_from_ >= counted_from_) {
      second_.p50 = second_latency_.percentile(50);
      second_.p99 = second_latency_.percentile(99);
      result_.seconds_list.push_back(second_);
    }
    result_.seconds = std::max(0.0, to_seconds(sent_until_ - counted_from_));
    if (result_.seconds <= 0) return;
    result_.offered = static_cast<double>(result_.total().sent + result_.unsent) / result_.seconds;
    result_.throughput = result_.per_second(result_.total().answered);
  }

  target& on_;
  mix& what_;
  schedule plan_;
  const watcher& watched_;
  result result_;
  time_point begin_, counted_from_, end_, sent_until_, looked_, second_from_;
  bool draining_ = false;
  std::unordered_map<ticket, in_flight> open_;
  std::vector<ended> heard_;
  std::uint64_t failed_ = 0;
  second second_;
  histogram second_latency_;
};

}  // namespace

tally result::total() const {
  tally all;
  for (const auto& each : streams) all.merge(each);
  return all;
}

double result::per_second(std::uint64_t count) const { return seconds > 0 ? static_cast<double>(count) / seconds : 0; }

bool result::generator_was_late() const { return unsent > 0 || lag.percentile(99) > late_us; }

result run(target& on, mix& what, schedule plan, const watcher& watched) {
  return engine(on, what, std::move(plan), watched)();
}

}  // namespace shoal::services::bench
