#include "services/mesh/bench/load.hpp"

#include <deque>

#include <doctest/doctest.h>

#include "services/mesh/bench/report.hpp"

#include <nlohmann/json.hpp>

using namespace shoal;
using namespace shoal::services::bench;
using namespace std::chrono_literals;

namespace {

/// A server with one place, under a clock of its own: time passes only while the generator sleeps.
struct world final : target {
  time_point now{1h};
  steady::duration takes = 1ms;
  time_point stalls_from = time_point::max(), stalls_until = time_point::max();
  std::size_t most = 1'000'000;  ///< requests that wait; more are refused
  bool loses = false;            ///< every tenth is never answered
  std::uint64_t sent = 0;

  expected<protocol::model_spec> spec(const std::string&, std::uint64_t) override { return {}; }
  expected<void> prepare(std::vector<protocol::infer>) override { return {}; }
  void send(std::size_t, done on_end) override {
    if (loses && sent++ % 10 == 0) return;
    if (waiting_.size() >= most) return on_end(errc::overloaded);
    auto begins = std::max(now, waiting_.empty() ? now : waiting_.back().first);
    if (begins >= stalls_from && begins < stalls_until) begins = stalls_until;
    waiting_.emplace_back(begins + takes, std::move(on_end));
  }

  timekeeper time() {
    timekeeper made;
    made.now = [this] { return now; };
    made.sleep_until = [this](time_point when) {
      while (!waiting_.empty() && waiting_.front().first <= when) {
        now = std::max(now, waiting_.front().first);
        auto over = std::move(waiting_.front().second);
        waiting_.pop_front();
        over(std::nullopt);
      }
      now = std::max(now, when);
      return now < ends;
    };
    return made;
  }
  time_point ends = time_point::max();

 private:
  std::deque<std::pair<time_point, done>> waiting_;
};

load_options seconds_of(int duration) {
  load_options options;
  options.duration = std::chrono::seconds(duration);
  options.drain = 5s;
  return options;
}

}  // namespace

TEST_CASE("an answer is measured from when its request was to be sent: a stall is seen by all who came during it") {
  world server;
  server.stalls_from = server.now + 5s;
  server.stalls_until = server.now + 6s;
  const auto result = run_load(server, 1, arrivals::constant(100), seconds_of(10), server.time());
  CHECK(result.offered == doctest::Approx(100).epsilon(0.01));
  CHECK(result.ok == result.sent);
  CHECK(result.open == 0);
  CHECK(result.latency.quantile(0.5) >= 1ms);
  CHECK(result.latency.quantile(0.5) < 1100us);
  // One second in ten was stalled: a tenth of all waited, the first of them for the whole of it.
  CHECK(result.latency.quantile(0.95) > 400ms);
  CHECK(result.latency.largest() > 990ms);
}

TEST_CASE("warm-up is sent but not counted, answers that come too late are no goodput") {
  world server;
  server.takes = 20ms;  // 50 a second, of 100 that are sent
  auto options = seconds_of(4);
  options.warm_up = 1s;
  options.deadline = 100ms;
  options.drain = 20s;
  const auto result = run_load(server, 3, arrivals::constant(100), options, server.time());
  CHECK(result.sent == doctest::Approx(400).epsilon(0.01));
  CHECK(result.ok == result.sent);
  CHECK(result.good == 0);  // after the first second the queue is half a second long
}

TEST_CASE("refusals are counted and timed apart, and what is never answered is open") {
  world server;
  server.takes = 20ms;
  server.most = 4;
  const auto refusing = run_load(server, 1, arrivals::poisson(150, 1), seconds_of(10), server.time());
  CHECK(refusing.failed.at(errc::overloaded) > 800);
  CHECK(refusing.refusals.quantile(1) == 0us);
  CHECK(refusing.ok + refusing.failed.at(errc::overloaded) == refusing.sent);

  world losing;
  losing.loses = true;
  const auto result = run_load(losing, 1, arrivals::constant(100), seconds_of(10), losing.time());
  CHECK(result.open == doctest::Approx(100).epsilon(0.02));
  CHECK(result.ok + result.open == result.sent);
  const auto told = json_of({{100, 0, result}});
  CHECK(told["runs"][0]["open"] == result.open);
  CHECK(told["runs"][0]["loop"] == "open");
}

TEST_CASE("a signal ends a run with the figures so far") {
  world server;
  server.ends = server.now + 2s;
  const auto result = run_load(server, 1, arrivals::constant(100), seconds_of(10), server.time());
  CHECK(result.stopped);
  CHECK(result.seconds == doctest::Approx(2).epsilon(0.02));
  CHECK(result.offered == doctest::Approx(100).epsilon(0.02));
}
