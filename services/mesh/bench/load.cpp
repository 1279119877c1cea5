#include "services/mesh/bench/load.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>

namespace shoal::services::bench {

namespace {

/// What answers are written into: shared with them, since late ones come after the run.
struct ledger {
  std::mutex mutex;
  std::condition_variable changed;
  load_result result;
  microseconds deadline{};
  std::uint64_t in_flight = 0;  ///< warm-up included
  std::uint64_t answered = 0, failed = 0;
  bool closed = false;

  void ended(std::optional<errc> how, bool counts, time_point intended, time_point sent, time_point now) {
    const std::lock_guard lock(mutex);
    --in_flight;
    ++(how ? failed : answered);
    changed.notify_all();
    if (!counts || closed) return;
    const auto since = [&](time_point then) { return std::chrono::duration_cast<microseconds>(now - then); };
    if (how) {
      ++result.failed[*how];
      if (*how == errc::overloaded) result.refusals.add(since(sent));
      return;
    }
    ++result.ok;
    result.good += deadline == microseconds::zero() || since(intended) <= deadline;
    result.latency.add(since(intended));
    result.service.add(since(sent));
  }
};

void send_one(target& to, std::size_t which, const std::shared_ptr<ledger>& into, bool counts, time_point intended,
              const timekeeper& time) {
  const auto sent = time.now();
  {
    const std::lock_guard lock(into->mutex);
    ++into->in_flight;
    if (counts) {
      ++into->result.sent;
      into->result.lag.add(std::chrono::duration_cast<microseconds>(sent - intended));
    }
  }
  to.send(which, [into, counts, intended, sent, now = time.now](std::optional<errc> how) {
    into->ended(how, counts, intended, sent, now());
  });
}

/// Waits for what is open, in real time only as long as it must.
load_result close(const std::shared_ptr<ledger>& into, steady::duration drain, const timekeeper& time) {
  const auto until = time.now() + drain;
  for (;;) {
    {
      const std::lock_guard lock(into->mutex);
      if (into->in_flight == 0 || time.now() >= until) {
        into->closed = true;
        auto& result = into->result;
        result.open = result.sent - result.ok;
        for (const auto& [code, count] : result.failed) result.open -= count;
        return result;
      }
    }
    if (!time.sleep_until(std::min(until, time.now() + milliseconds(5)))) {
      const std::lock_guard lock(into->mutex);
      into->closed = true;
      return into->result;
    }
  }
}

}  // namespace

load_result run_load(target& to, std::size_t requests, arrivals when, const load_options& options,
                     const timekeeper& time, const progress& told) {
  const auto into = std::make_shared<ledger>();
  into->deadline = options.deadline;
  const auto begin = time.now();
  const auto end = options.warm_up + options.duration;
  auto which = static_cast<std::size_t>(options.seed) % requests;
  auto tell_at = begin + std::chrono::seconds(1);
  std::uint64_t sent = 0, due = 0;
  bool stopped = false;
  steady::duration last{};
  while (const auto next = when.next()) {
    if (*next >= end) break;
    last = *next;
    if (!time.sleep_until(begin + *next)) {
      stopped = true;
      break;
    }
    const bool counts = *next >= options.warm_up;
    due += counts;
    send_one(to, which++ % requests, into, counts, begin + *next, time);
    ++sent;
    if (!told || time.now() < tell_at) continue;
    tell_at += std::chrono::seconds(1);
    const std::lock_guard lock(into->mutex);
    told(sent, into->answered, into->failed);
  }
  auto result = close(into, options.drain, time);
  result.stopped = stopped;
  result.seconds =
      std::chrono::duration<double>(stopped ? std::max(last - options.warm_up, steady::duration{}) : options.duration)
          .count();
  result.offered = result.seconds > 0 ? static_cast<double>(due) / result.seconds : 0;
  return result;
}

load_result run_closed(target& to, std::size_t requests, std::size_t window, const load_options& options,
                       const timekeeper& time) {
  const auto into = std::make_shared<ledger>();
  into->deadline = options.deadline;
  const auto begin = time.now();
  const auto counted_from = begin + options.warm_up;
  const auto end = counted_from + options.duration;
  std::size_t which = 0;
  bool stopped = false;
  for (;;) {
    {
      std::unique_lock lock(into->mutex);
      into->changed.wait_for(lock, milliseconds(50), [&] { return into->in_flight < window; });
      if (into->in_flight >= window) {
        lock.unlock();
        if (time.now() >= end || !time.sleep_until(time.now())) break;
        continue;
      }
    }
    const auto now = time.now();
    if (now >= end) break;
    if (!time.sleep_until(now)) {
      stopped = true;
      break;
    }
    send_one(to, which++ % requests, into, now >= counted_from, now, time);
  }
  const auto counted = time.now() - counted_from;
  auto result = close(into, options.drain, time);
  result.stopped = stopped;
  result.seconds = std::max(std::chrono::duration<double>(counted).count(), 1e-9);
  return result;
}

}  // namespace shoal::services::bench
