#include "services/mesh/bench/run.hpp"

#include <doctest/doctest.h>

#include "unit/bench/fake_target.hpp"

using namespace shoal;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

mix one_stream() { return mix({{1, {0}}}, 1); }

schedule open_loop(double rate, nanoseconds duration, nanoseconds warmup = 0s, nanoseconds drain = 10s) {
  schedule plan;
  plan.rate = rate;
  plan.due = constant_arrivals(rate);
  plan.duration = duration;
  plan.warmup = warmup;
  plan.drain = drain;
  plan.sizes = {100, 100};
  return plan;
}

double ms(std::uint64_t us) { return static_cast<double>(us) / 1000; }

}  // namespace

TEST_CASE("every request has one outcome, and is sent when it is due") {
  fake_target on;
  auto what = one_stream();
  const auto ran = run(on, what, open_loop(100, 2s), {});
  const auto all = ran.total();
  CHECK(all.sent == 200);
  CHECK(all.ok == 200);
  CHECK(all.failed() + all.no_outcome == 0);
  CHECK(all.bytes_sent == 20'000);
  CHECK(all.bytes_received == 2'000);
  CHECK(ms(all.latency.percentile(99)) == doctest::Approx(1));
  CHECK(ran.lag.max() <= 1);
  CHECK_FALSE(ran.generator_was_late());
  CHECK(ran.offered == doctest::Approx(100));
  CHECK(ran.throughput == doctest::Approx(100));
  CHECK(on.sent[150].first == 1500ms);
  REQUIRE(ran.seconds_list.size() == 2);
  CHECK(ran.seconds_list[1].sent == 100);
}

TEST_CASE("a server that stalls for a second shows it in p99: requests are due while it stalls") {
  fake_target on;  // what is sent within [5 s, 6 s) is answered at 6 s: 100 of 1000 requests wait, up to a second
  on.serves = [](nanoseconds sent) -> std::optional<nanoseconds> { return sent >= 5s && sent < 6s ? 6s - sent : 1ms; };
  auto what = one_stream();
  const auto ran = run(on, what, open_loop(100, 10s), {});
  const auto all = ran.total();
  CHECK(all.ok == 1000);
  CHECK(ms(all.latency.percentile(99)) > 850);
  CHECK(ms(all.latency.percentile(90)) < 20);
  CHECK(ms(all.latency.max()) == doctest::Approx(1000).epsilon(0.001));
}

TEST_CASE(
    "latency counts from when a request was due, though the generator itself was held up; service time does not") {
  fake_target on;
  on.send_cost = 20ms;  // 100/s cannot be sent at 20 ms each
  auto what = one_stream();
  const auto ran = run(on, what, open_loop(100, 2s), {});
  const auto all = ran.total();
  CHECK(ran.generator_was_late());
  CHECK(ms(ran.lag.percentile(99)) > 900);
  CHECK(ms(all.latency.percentile(99)) > 900);
  CHECK(ms(all.service.percentile(99)) < 50);
  CHECK(ran.unsent > 0);
  CHECK(all.sent + ran.unsent == 200);
}

TEST_CASE("what wakes a little late is sent a little late, and that is counted") {
  fake_target on;
  on.oversleeps = 3ms;
  auto what = one_stream();
  const auto ran = run(on, what, open_loop(50, 2s), {});
  CHECK(ms(ran.lag.percentile(50)) == doctest::Approx(3).epsilon(0.01));
  CHECK_FALSE(ran.generator_was_late());
}

TEST_CASE("the warm-up is sent and not counted") {
  fake_target on;
  on.serves = [](nanoseconds sent) { return sent < 1s ? 500ms : 1ms; };
  auto what = one_stream();
  const auto ran = run(on, what, open_loop(100, 1s, 1s), {});
  CHECK(on.sent.size() == 200);
  CHECK(ran.total().sent == 100);
  CHECK(ms(ran.total().latency.max()) == doctest::Approx(1));
  CHECK(ran.seconds == doctest::Approx(1));
  CHECK(ran.seconds_list.size() == 1);
}

TEST_CASE("answers per second are those that came in the counted time, of each stream as of all") {
  fake_target on;  // what is sent in the last 500 ms is answered in the drain
  on.serves = [](nanoseconds) { return 500ms; };
  mix what({{1, {0}}, {3, {1}}}, 1);
  const auto ran = run(on, what, open_loop(100, 1s, 0s), {});
  CHECK(ran.total().ok == 100);
  CHECK(ran.total().answered == doctest::Approx(50).epsilon(0.03));
  CHECK(ran.streams[0].answered + ran.streams[1].answered == ran.total().answered);
  CHECK(ran.streams[0].answered > 0);
  CHECK(ran.throughput == ran.per_second(ran.total().answered));
}

TEST_CASE("what has no outcome when the drain is over is counted as that, taken back, and not mistaken later") {
  fake_target on;
  on.serves = [](nanoseconds sent) -> std::optional<nanoseconds> {
    if (sent < 500ms) return 1ms;
    return sent < 600ms ? std::optional<nanoseconds>(5s) : std::nullopt;
  };
  auto what = one_stream();
  const auto first = run(on, what, open_loop(100, 1s, 0s, 2s), {});
  CHECK(first.total().ok == 50);
  CHECK(first.total().no_outcome == 50);
  CHECK(first.total().failure_ratio() == doctest::Approx(0.5));
  CHECK(on.abandoned == 1);
  CHECK(on.now() - fake_target::start() == 3s);
  on.serves = [](nanoseconds) { return 1ms; };
  const auto second = run(on, what, open_loop(100, 4s, 0s, 2s), {});
  CHECK(second.total().sent == 400);
  CHECK(second.total().ok == 400);
}

TEST_CASE("failures are counted by kind with what the first said, refusals with their latency, answers by deadline") {
  fake_target on;
  on.serves = [](nanoseconds sent) { return sent < 500ms ? 10ms : 30ms; };
  on.fails = [](nanoseconds sent) -> std::optional<errc> {
    if (sent < 100ms) return errc::overloaded;
    if (sent < 200ms) return errc::deadline_exceeded;
    return std::nullopt;
  };
  auto plan = open_loop(100, 1s);
  plan.deadline = 20ms;
  auto what = one_stream();
  const auto all = run(on, what, std::move(plan), {}).total();
  CHECK(all.failures[static_cast<std::size_t>(errc::overloaded)] == 10);
  CHECK(all.failures[static_cast<std::size_t>(errc::deadline_exceeded)] == 10);
  CHECK(all.reasons[static_cast<std::size_t>(errc::overloaded)] == "the fake says no");
  CHECK(all.refused() == 10);
  CHECK(all.refusals.count() == 10);
  CHECK(ms(all.refusals.max()) == doctest::Approx(10));
  CHECK(all.ok == 80);
  CHECK(all.latency.count() == 80);
  CHECK(all.in_time == 30);
}

TEST_CASE("a closed loop keeps as many in flight as it was told") {
  fake_target on;
  on.serves = [](nanoseconds) { return 10ms; };
  schedule plan;
  plan.in_flight = 40;
  plan.duration = 1s;
  plan.drain = 1s;
  plan.sizes = {100};
  auto what = one_stream();
  const auto ran = run(on, what, std::move(plan), {});
  CHECK(ran.closed == 40);
  CHECK(ran.most_in_flight == 40);
  CHECK(ran.throughput == doctest::Approx(4000).epsilon(0.02));
  CHECK(ran.total().ok == ran.total().sent);
}

TEST_CASE("a run that is stopped tells what it has, and its progress was told once a second") {
  fake_target on;
  auto what = one_stream();
  int told = 0;
  watcher watched;
  watched.stop = [&] { return on.now() - fake_target::start() >= 3s; };
  watched.tell = [&](const progress& now) {
    ++told;
    CHECK(now.of == doctest::Approx(61));
    CHECK(now.warming == (now.seconds <= 1));
  };
  const auto ran = run(on, what, open_loop(100, 60s, 1s), watched);
  CHECK(ran.interrupted);
  CHECK(ran.seconds == doctest::Approx(2).epsilon(0.05));
  CHECK(ran.offered == doctest::Approx(100).epsilon(0.05));
  CHECK(told >= 2);
  CHECK(told <= 4);
}
