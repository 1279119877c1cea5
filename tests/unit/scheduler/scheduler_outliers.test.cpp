// Workers that fail or are slow, with requests that wait for them: out for a while, then one batch decides.
#include "unit/scheduler/scheduler_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

constexpr peer_id good = 2;
constexpr peer_id bad = 3;

struct fixture : scheduler_fixture {
  request_id next_id = 1;

  fixture() {
    for (const auto peer : {good, bad}) add_worker(peer);
  }
  /// None of them can be joined.
  void ask(int requests) {
    for (; requests > 0; --requests, ++next_id) {
      auto request = matrix_request(next_id, 1, static_cast<std::int64_t>(next_id));
      request.time_left = 1h;
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
  double ejections() const { return figure("shoal_scheduler_ejections_total"); }
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
