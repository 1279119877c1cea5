// Several schedulers share a worker: what each is told, and what becomes of batches that come against a place that is
// another's.
#include "worker_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

using list = worker_fixture::list;
constexpr auto scheduler = worker_fixture::scheduler;
constexpr auto other = worker_fixture::other_scheduler;

struct fixture : worker_fixture {
  offer_id kept = 0, withdrawn = 0;  ///< of the places that the first scheduler had before the other came
  fixture() {
    up(mind, other, service_kind::scheduler, other, now);
    const auto told = link.take<withdraw>(scheduler);
    REQUIRE(told);
    withdrawn = told->offer;
    for (int i = 0; i < 2; ++i)
      if (const auto id = take_offer(); id != withdrawn) kept = id;
  }
  void want_of(peer_id from, priority as = priority::standard) { deliver(mind, from, want{as}, now); }
  static batch urgent(batch message, priority as) {
    for (auto& each : message.members) each.request.priority = as;
    return message;
  }
};

}  // namespace

TEST_CASE("a scheduler without traffic does not hold the places of another") {
  fixture f;
  CHECK(f.link.count<offer>(other) == 1);
  f.give(1, {1}, other);
  f.now += 20ms;
  f.want_of(other);
  f.give(2, {2}, other);
  f.computed_last();
  CHECK(f.over(other).offer != 0);
  CHECK(f.link.count<completion>(scheduler) == 0);
  CHECK(f.running() == list{2});
}

TEST_CASE("a batch against a place that is another's by now comes back whole, and counts as a wish") {
  fixture f;
  f.give(f.of(9, f.withdrawn, {9, 10}));
  const auto back = f.over();
  CHECK(back.batch == 9);
  CHECK(back.batch_over);
  CHECK(back.rows == 0);
  CHECK(f.ids(back.returned) == list{9, 10});
  CHECK(back.finished.empty());
  CHECK(f.jobs.empty());
  CHECK(f.unexpected() == 0);
  f.now += 20ms;  // the other has no use for its own
  f.mind.on_wake(f.now);
  CHECK(f.link.take<withdraw>(other));
}

TEST_CASE("the holder of a place is told how long the others' batches will take, and when that changes") {
  fixture f;
  const auto first = f.link.take<offer>(other);
  REQUIRE(first);
  CHECK(first->busy == 0us);
  auto long_one = f.of(1, f.kept, {1});
  long_one.takes = 50ms;
  f.give(std::move(long_one));
  auto told = f.link.take<offer>(other);
  REQUIRE(told);
  CHECK(told->id == first->id);
  CHECK(told->busy == 50ms);
  f.now += 30ms;  // sooner than was said
  f.computed_last();
  told = f.link.take<offer>(other);
  REQUIRE(told);
  CHECK(told->id == first->id);
  CHECK(told->busy == 0us);
}

TEST_CASE("a batch that had to wait for another scheduler's is told to have started") {
  fixture f;
  auto first = f.of(1, f.link.take<offer>(other)->id, {1});
  first.takes = 10ms;
  f.give(std::move(first), other);
  f.give(f.of(2, f.kept, {2}));
  CHECK(f.link.count<started>(scheduler) == 0);
  f.computed_last();
  CHECK(f.running() == list{2});
  const auto told = f.link.take<started>(scheduler);
  REQUIRE(told);
  CHECK(told->batch == 2);
  CHECK(f.link.count<started>(other) == 0);
}

TEST_CASE("a staged batch makes way for another scheduler's critical request") {
  fixture f;
  f.give(f.of(1, f.kept, {1}));
  f.now += 20ms;
  f.want_of(scheduler);
  REQUIRE(f.link.take<withdraw>(other));
  SUBCASE("of a lower class") {
    f.give(2, {2, 3});
    f.link.take<offer>(other);
    f.want_of(other, priority::critical);
    const auto back = f.over();
    CHECK(back.batch == 2);
    CHECK(f.ids(back.returned) == list{2, 3});
    CHECK(f.link.count<offer>(other) == 1);
    CHECK(f.running() == list{1});
  }
  SUBCASE("but not if it is critical itself") {
    f.give(fixture::urgent(f.of(2, f.take_offer(), {2}), priority::critical));
    f.want_of(other, priority::critical);
    CHECK(f.link.count<completion>(scheduler) == 0);
  }
  SUBCASE("nor if it has waited for long") {
    auto old = f.of(2, f.take_offer(), {2});
    old.members[0].queue_time = 1s;
    f.give(std::move(old));
    f.want_of(other, priority::critical);
    CHECK(f.link.count<completion>(scheduler) == 0);
  }
  SUBCASE("nor for a wish of a lower class") {
    f.give(2, {2});
    f.want_of(other);
    CHECK(f.link.count<completion>(scheduler) == 0);
  }
}

TEST_CASE("more that waits is a wish") {
  fixture f;
  auto first = f.of(1, f.kept, {1});
  first.more = priority::standard;
  f.give(std::move(first));
  CHECK_FALSE(f.link.take<withdraw>(other));  // both have one place
  f.now += 20ms;
  f.mind.on_wake(f.now);
  CHECK(f.link.take<withdraw>(other));
}

TEST_CASE("wishes from others than schedulers are dropped and counted") {
  fixture f;
  deliver(f.mind, worker_fixture::gateway, want{priority::critical}, f.now);
  CHECK(f.unexpected() == 1);
}

TEST_CASE("a scheduler of an older release hears of no leases") {
  worker_fixture f;
  link_event old = peer_up{worker_fixture::other_scheduler, service_kind::scheduler, 2, 1, {}, 2};
  f.mind.on(old, f.now);
  const auto withdrawn = f.link.take<withdraw>(scheduler);
  REQUIRE(withdrawn);
  CHECK(f.link.count<offer>(other) == 1);
  f.now += 1s;
  f.mind.on_wake(f.now);
  deliver(f.mind, scheduler, want{}, f.now);
  CHECK(f.link.count<withdraw>(other) == 0);
  const auto first = f.take_offer(), second = f.take_offer();
  f.give(f.of(1, first == withdrawn->offer ? second : first, {1}));
  CHECK(f.link.count<offer>(other) == 1);  // not again
  f.give(2, {2}, other);
  f.computed_last();
  CHECK(f.link.count<started>(other) == 0);
  CHECK(f.running() == list{2});
}
