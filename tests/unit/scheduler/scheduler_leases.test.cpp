// Workers that several schedulers share, as one of these sees them: places are asked for, come and go.
#include "unit/scheduler/scheduler_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

constexpr auto gateway = scheduler_fixture::gateway;
constexpr peer_id worker = 2;
constexpr peer_id other_worker = 3;

struct fixture : scheduler_fixture {
  void ask(request_id id, priority as = priority::standard, std::int64_t width = 4) {
    scheduler_fixture::ask(id, 1, width, as);
  }
  void advance(steady::duration by) {
    now += by;
    if (const auto wake = mind.next_wake(); wake && *wake <= now) mind.on_wake(now);
  }
};

using list = fixture::list;

}  // namespace

TEST_CASE("who has both places of its workers asks for no more") {
  fixture f;
  f.add_worker(worker, 2);
  for (request_id id = 1; id <= 10; ++id) f.ask(id, priority::standard, static_cast<std::int64_t>(id));
  CHECK(f.mind.queued() > 0);
  CHECK(f.link.count<want>(worker) == 0);
}

TEST_CASE("a place is asked for once, and again more urgently") {
  fixture f;
  f.add_worker(worker, 0);
  f.ask(1);
  REQUIRE(f.link.take<want>(worker));
  f.ask(2);
  CHECK_FALSE(f.link.take<want>(worker));
  f.ask(3, priority::critical);
  const auto urgent = f.link.take<want>(worker);
  REQUIRE(urgent);
  CHECK(urgent->most_urgent == priority::critical);
  f.ask(4, priority::critical);
  CHECK_FALSE(f.link.take<want>(worker));
  f.offer_of(worker);
  const auto given = f.link.take<batch>(worker);
  CHECK(f.ids(given).front() == 3);
  f.ask(5, priority::standard, 5);
  CHECK(f.link.take<want>(worker));  // it has answered
}

TEST_CASE("workers of an older release are not asked") {
  fixture f;
  link_event old = peer_up{worker, service_kind::worker, worker, 1, {}, 2};
  f.mind.on(old, f.now);
  deliver(f.mind, worker, catalogue{{matrix_model()}}, f.now);
  f.ask(1);
  CHECK(f.link.count<want>(worker) == 0);
}

TEST_CASE("a batch tells the worker how long it will take and whether more waits") {
  fixture f;
  f.add_worker(worker, 1);
  for (int i = 0; i < 10; ++i) {
    f.ask(static_cast<request_id>(100 + i));
    const auto one = f.link.take<batch>(worker);
    REQUIRE(one);
    CHECK_FALSE(one->more);
    f.now += 10ms;
    deliver(f.mind, worker, completion{one->id, {one->members[0].key}, {}, 10ms, 1, true, f.next_offer++}, f.now);
  }
  f.ask(1);
  const auto running = f.link.take<batch>(worker);
  REQUIRE(running);
  CHECK(running->takes > 8ms);
  CHECK(running->takes < 13ms);
  f.ask(2, priority::batch, 4);
  f.ask(3, priority::batch, 9);  // they cannot be joined
  f.offer_of(worker);
  f.advance(9ms);
  const auto next = f.link.take<batch>(worker);
  REQUIRE(next);
  REQUIRE(next->more);
  CHECK(*next->more == priority::batch);
}

TEST_CASE("a place where another scheduler's batch runs is used shortly before that is over") {
  fixture f;
  f.add_worker(worker, 0);
  f.offer_of(worker, 50ms);
  f.ask(1);
  CHECK_FALSE(f.link.take<batch>(worker));
  f.advance(40ms);
  CHECK_FALSE(f.link.take<batch>(worker));
  SUBCASE("as was said") {
    f.advance(9ms);
    CHECK(f.ids(f.link.take<batch>(worker)) == list{1});
  }
  SUBCASE("sooner") {
    deliver(f.mind, worker, offer{1, 0us}, f.now);
    CHECK(f.ids(f.link.take<batch>(worker)) == list{1});
  }
  SUBCASE("or elsewhere at once") {
    f.add_worker(other_worker, 1);
    CHECK(f.ids(f.link.take<batch>(other_worker)) == list{1});
  }
}

TEST_CASE("while a place has to be waited for, other workers are asked") {
  fixture f;
  f.add_worker(worker, 0);
  f.add_worker(other_worker, 0);
  f.ask(1);
  const auto first = f.link.count<want>(worker) == 1 ? worker : other_worker;
  const auto second = first == worker ? other_worker : worker;
  CHECK(f.link.count<want>(second) == 0);
  f.offer_of(first, 50ms);
  CHECK(f.link.count<want>(second) == 1);
  f.offer_of(second);
  CHECK(f.ids(f.link.take<batch>(second)) == list{1});
}

TEST_CASE("a place that was withdrawn is not used; a batch that crossed with that takes its own place again") {
  fixture f;
  f.add_worker(worker, 2);
  deliver(f.mind, worker, withdraw{2}, f.now);
  f.ask(1, priority::critical);
  const auto crossed = f.link.take<batch>(worker);
  REQUIRE(crossed);
  CHECK(crossed->offer == 1);
  f.ask(2);
  CHECK_FALSE(f.link.take<batch>(worker));
  deliver(f.mind, worker, withdraw{1}, f.now);
  deliver(f.mind, worker, completion{crossed->id, {}, {crossed->members[0].key}, 0us, 0, true, 0}, f.now);
  CHECK(f.mind.queued() == 2);
  f.ask(3, priority::critical, 9);
  f.offer_of(worker);
  f.offer_of(worker);
  CHECK(f.ids(f.link.take<batch>(worker)).front() == 1);
  CHECK(f.ids(f.link.take<batch>(worker)).front() == 3);
}

TEST_CASE("the worker's death is not blamed on what waited there for another scheduler's batch") {
  fixture f;
  f.add_worker(worker, 0);
  for (int deaths = 0; deaths < 3; ++deaths) {
    f.offer_of(worker, 1ms);
    if (deaths == 0) f.ask(1);
    f.advance(0ms);
    REQUIRE(f.ids(f.link.take<batch>(worker)) == list{1});
    down(f.mind, worker, f.now);
    up(f.mind, worker, service_kind::worker, worker, f.now);
    deliver(f.mind, worker, catalogue{{matrix_model()}}, f.now);
  }
  CHECK_FALSE(f.link.take<outcome>(gateway));  // it is not refused as poison
}

TEST_CASE("a batch that waited for another scheduler's is measured from when it started") {
  fixture f;
  f.add_worker(worker, 0);
  for (int i = 0; i < 10; ++i) {
    f.offer_of(worker, 1ms);
    f.ask(static_cast<request_id>(i + 1));
    f.advance(0ms);
    const auto sent = f.link.take<batch>(worker);
    REQUIRE(sent);
    f.now += 100ms;
    deliver(f.mind, worker, started{sent->id}, f.now);
    f.now += 10ms;
    deliver(f.mind, worker, completion{sent->id, {sent->members[0].key}, {}, 10ms, 1, true, 0}, f.now);
  }
  f.offer_of(worker);
  f.ask(20);
  const auto last = f.link.take<batch>(worker);
  REQUIRE(last);
  CHECK(last->takes > 8ms);
  CHECK(last->takes < 13ms);
}
