// Workers that fail or are slow, with requests that wait for them: out for a while, then one batch decides.
#include <doctest/doctest.h>

#include "scheduler/scheduler_state.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

constexpr peer_id gateway = 1;
constexpr peer_id good = 2;
constexpr peer_id bad = 3;

struct fixture {
  memory_link link;
  metrics figures;
  scheduler::scheduler_state mind;
  time_point now{1h};
  offer_id next_offer = 1;
  request_id next_id = 1;

  fixture() : mind({}, link, figures) {
    up(mind, gateway, service_kind::gateway, 100, now);
    for (const auto peer : {good, bad}) {
      up(mind, peer, service_kind::worker, peer, now);
      deliver(mind, peer, catalogue{{matrix_model()}}, now);
      for (int i = 0; i < 2; ++i) deliver(mind, peer, offer{next_offer++}, now);
    }
  }
  /// None of them can be joined.
  void ask(int requests) {
    for (int i = 0; i < requests; ++i) {
      auto request = matrix_request(next_id, 1, static_cast<std::int64_t>(next_id));
      request.time_left = 1h;
      ++next_id;
      deliver(mind, gateway, std::move(request), now);
    }
  }
  /// The oldest batch of this worker is over. False: it has none.
  bool finish(peer_id peer, microseconds took, bool fails = false) {
    const auto done = link.take<batch>(peer);
    if (!done) return false;
    completion over{done->id, {done->members[0].key}, {}, took, 1, true, next_offer++, fails ? 1U : 0U};
    deliver(mind, peer, over, now);
    return true;
  }
  void wait(steady::duration by) {
    now += by;
    mind.on_wake(now);
  }
  double ejections() const {
    for (const auto& [name, value] : figures.snapshot())
      if (name == "shoal_scheduler_ejections_total") return value;
    return -1;
  }
};

}  // namespace

TEST_CASE("a worker that fails its batches is given no more though requests wait, and its half-open trial decides") {
  fixture f;
  f.ask(40);
  int failed = 0;
  while (f.finish(bad, 1ms, true)) ++failed;
  CHECK(failed == 6);  // five in a row, and what was staged by then
  CHECK(f.ejections() == 1);
  CHECK(f.mind.queued() > 20);
  f.wait(4s);
  CHECK_FALSE(f.finish(bad, 1ms, true));
  f.wait(2s);
  SUBCASE("it fails again, and is out for longer") {
    CHECK(f.link.count<batch>(bad) == 1);
    CHECK(f.finish(bad, 1ms, true));
    CHECK(f.ejections() == 2);
    f.wait(8s);
    CHECK(f.link.count<batch>(bad) == 0);
    f.wait(3s);
    CHECK(f.link.count<batch>(bad) == 1);
  }
  SUBCASE("it does well, and is as the others") {
    CHECK(f.finish(bad, 1ms));
    f.wait(0ms);
    CHECK(f.link.count<batch>(bad) == 2);
    CHECK(f.ejections() == 1);
  }
  SUBCASE("the others are gone, and it is all there is") {
    CHECK(f.finish(bad, 1ms, true));
    CHECK(f.link.count<batch>(bad) == 0);
    down(f.mind, good, f.now);
    REQUIRE(f.mind.next_wake());
    CHECK(*f.mind.next_wake() <= f.now);
    f.wait(0ms);
    CHECK(f.link.count<batch>(bad) == 1);
    for (int i = 0; i < 10; ++i) CHECK(f.finish(bad, 1ms, true));  // the last one is not ejected
  }
}

TEST_CASE("a worker four times slower than another of its kind is out; one twice as slow is not") {
  for (const auto slower : {4, 2}) {
    fixture f;
    CAPTURE(slower);
    for (int i = 0; i < 60; ++i) {
      f.ask(4);
      f.now += 10ms;
      f.finish(good, 10ms);
      f.finish(good, 10ms);
      f.now += 10ms * slower;
      f.finish(bad, 10ms * slower);
    }
    CHECK(f.ejections() == (slower == 4 ? 1 : 0));
  }
}
