// Whose the places of a worker are.
#include "worker/places.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::protocol;
using namespace std::chrono_literals;
using worker::places;

namespace {

constexpr peer_id a = 1, b = 2, c = 3;

struct fixture {
  places mind{2};
  time_point now{1h};
  std::vector<std::pair<peer_id, offer_id>> granted, withdrawn;

  void settle() {
    granted.clear();
    withdrawn.clear();
    const auto made = mind.settle(now);
    for (const auto& lease : made.granted) granted.emplace_back(lease.scheduler, lease.id);
    for (const auto& lease : made.withdrawn) withdrawn.emplace_back(lease.scheduler, lease.id);
  }
  void join(peer_id scheduler, bool asks = true) {
    mind.join(scheduler, asks, now);
    settle();
  }
  void want(peer_id scheduler, priority as = priority::standard) {
    mind.want(scheduler, as, now);
    settle();
  }
  /// Takes a place of this scheduler for a batch.
  void use(peer_id scheduler) {
    const auto lease = of(scheduler);
    REQUIRE(lease != 0);
    REQUIRE(mind.occupy(scheduler, lease));
    settle();
  }
  void end(peer_id scheduler) {
    mind.vacate(scheduler);
    settle();
  }
  offer_id of(peer_id scheduler) {
    for (const auto& lease : mind.leases())
      if (lease.holder == scheduler) return lease.id;
    return 0;
  }
  std::size_t count(peer_id scheduler) {
    std::size_t n = 0;
    for (const auto& lease : mind.leases()) n += lease.holder == scheduler;
    return n;
  }
};

}  // namespace

TEST_CASE("one scheduler has both places; a second that comes gets one of them") {
  fixture f;
  f.join(a);
  CHECK(f.granted.size() == 2);
  f.join(b);
  CHECK(f.withdrawn.size() == 1);
  CHECK(f.withdrawn[0].first == a);
  CHECK(f.count(a) == 1);
  CHECK(f.count(b) == 1);
  f.join(c);  // its turn comes when one of them has had no use for its own for a while
  CHECK(f.count(c) == 0);
  REQUIRE(f.mind.next_change());
  f.now = *f.mind.next_change();
  f.settle();
  CHECK(f.count(c) == 1);
  CHECK_FALSE(f.mind.next_change());
}

TEST_CASE("a lease is used once, by its holder, and not after it was withdrawn") {
  fixture f;
  f.join(a);
  f.join(b);
  const auto gone = f.withdrawn[0].second;
  CHECK_FALSE(f.mind.occupy(a, gone));
  CHECK_FALSE(f.mind.occupy(b, f.of(a)));
  const auto own = f.of(a);
  CHECK(f.mind.occupy(a, own));
  CHECK_FALSE(f.mind.occupy(a, own));
  CHECK(f.mind.was_leased(gone));
  CHECK_FALSE(f.mind.was_leased(0));
  CHECK_FALSE(f.mind.was_leased(1000));
}

TEST_CASE("batches and leases are never more than the places") {
  fixture f;
  f.join(a);
  f.join(b);
  f.use(a);
  f.use(b);
  CHECK(f.mind.leases().empty());
  f.want(a);
  f.want(b);
  CHECK(f.granted.empty());
  f.end(a);
  CHECK(f.granted.size() == 1);
}

TEST_CASE("a place that nobody else wants stays with who used it last") {
  fixture f;
  f.join(a);
  f.join(b);
  f.use(a);
  f.end(a);
  CHECK(f.count(a) == 1);
  f.want(a);  // b has no use for its own, but it has just got it
  CHECK(f.count(a) == 1);
  f.now += places::idle;
  f.settle();
  CHECK(f.count(a) == 2);
  f.use(a);
  f.end(a);
  CHECK(f.count(a) == 2);
  f.want(b);  // that of a was not wanted for: b has none
  CHECK(f.count(b) == 1);
}

TEST_CASE("two that want always take turns") {
  fixture f;
  f.join(a);
  f.join(b);
  f.use(a);
  f.use(b);
  std::vector<peer_id> order;
  peer_id running = a, staged = b;
  for (int i = 0; i < 8; ++i) {
    f.want(a);
    f.want(b);
    f.end(running);
    REQUIRE(f.granted.size() == 1);
    order.push_back(f.granted[0].first);
    running = staged;
    staged = order.back();
    f.use(staged);
  }
  CHECK(std::count(order.begin(), order.end(), a) == 4);
}

TEST_CASE("the most urgent class goes first, and one in eight is the turn of who has wanted longest") {
  fixture f;
  f.join(a);
  f.join(b);
  f.use(a);
  f.use(b);
  f.want(a, priority::batch);
  f.now += 1ms;
  int before = 0;
  peer_id running = a, staged = b;
  for (; before < 20; ++before) {
    f.want(b, priority::critical);
    f.end(running);
    REQUIRE(f.granted.size() == 1);
    if (f.granted[0].first == a) break;
    running = staged;
    staged = b;
    f.use(b);
  }
  CHECK(before >= 1);
  CHECK(before < 8);
}

TEST_CASE("what is wanted is not taken back at once") {
  fixture f;
  f.join(a);
  f.use(a);
  f.use(a);
  f.join(b);
  f.want(a);
  f.end(a);  // b is given the place, and waits for its time
  CHECK(f.count(b) == 1);
  f.use(b);
  f.end(b);
  f.want(b);
  f.want(a);
  CHECK(f.withdrawn.empty());
}

TEST_CASE("who leaves leaves its leases; its batch has its place until it is over") {
  fixture f;
  f.join(a);
  f.join(b);
  f.use(a);
  f.mind.leave(a);
  f.settle();
  CHECK(f.count(b) == 1);
  f.end(a);
  CHECK(f.count(b) == 2);
  f.mind.close();
  f.use(b);
  f.end(b);
  CHECK(f.granted.empty());
  CHECK_FALSE(f.mind.next_change());
}

TEST_CASE("one that does not know of leases keeps what it has, and gets one when it has none") {
  fixture f;
  f.join(a, false);
  f.join(b);
  CHECK(f.withdrawn.empty());
  CHECK(f.count(a) == 2);
  f.use(a);
  f.end(a);
  CHECK(f.count(a) == 1);
  CHECK(f.count(b) == 1);
  f.use(a);
  f.want(b);
  f.end(a);
  CHECK(f.count(a) == 1);
}

TEST_CASE("where the way there and back is long, a lease is held until a batch can have come, and no longer") {
  constexpr auto way = 15ms;
  fixture f;
  f.join(a);
  f.join(b);
  f.mind.miss(f.withdrawn.at(0).second, f.now + way);
  f.join(c);
  REQUIRE(f.mind.next_change());
  CHECK(*f.mind.next_change() >= f.now + 2 * way);
  CHECK(*f.mind.next_change() <= f.now + places::longest);
  for (int i = 0; i < 1000; ++i) {
    f.now = f.mind.next_change().value_or(f.now);
    f.settle();
    for (const auto each : {a, b, c})
      if (f.count(each) == 0) f.want(each);
  }
  while (!f.mind.next_change())
    for (const auto each : {a, b, c})
      if (f.count(each) == 0) f.want(each);
  CHECK(*f.mind.next_change() < f.now + 2 * places::shortest);
}
