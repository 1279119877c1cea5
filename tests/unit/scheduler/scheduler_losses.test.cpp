// Suspects: requests whose batch ended a worker, which must not be given the last one while others come back.
#include "unit/scheduler/scheduler_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

constexpr peer_id first = 2;
constexpr peer_id second = 3;
constexpr peer_id third = 4;

struct fixture : scheduler_fixture {
  /// A batch of `suspects` requests has ended `first`; `second` is left, idle, with one place.
  explicit fixture(request_id suspects = 1) {
    add_worker(first, 0);
    for (request_id id = 1; id <= suspects; ++id) ask_for(id);
    offer_of(first);
    add_worker(second, 1);
    if (suspects == 0) return;
    REQUIRE(link.take<batch>(first));
    down(mind, first, now);
  }
  void ask_for(request_id id, milliseconds time_left = 10s) {
    auto request = matrix_request(id);
    request.time_left = time_left;
    deliver(mind, gateway, std::move(request), now);
  }
  /// The request that `peer` has been given alone, which is then done; 0: none.
  request_id run(peer_id peer) {
    const auto given = link.take<batch>(peer);
    if (!given) return 0;
    REQUIRE(given->members.size() == 1);
    const auto key = given->members[0].key;
    deliver(mind, peer, completion{given->id, {key}, {}, 1ms, 1, true, next_offer++}, now);
    return key.id;
  }
};

/// `each` requests for either of two models, which run at `first` in two batches.
struct two_models : scheduler_fixture {
  const std::vector<model_spec> models{matrix_model("a"), matrix_model("b")};

  explicit two_models(request_id each) {
    add_worker(first, 0, models);
    for (request_id id = 1; id <= 2 * each; ++id) {
      auto request = matrix_request(id);
      request.model = id <= each ? "a" : "b";
      deliver(mind, gateway, std::move(request), now);
    }
    offer_of(first);
    offer_of(first);
    REQUIRE(link.count<batch>(first) == 2);
    deliver(mind, first, started{2}, now);
  }
};

}  // namespace

TEST_CASE("a suspect is not given to the last worker while another is expected back; others are") {
  fixture f;
  CHECK(f.link.count<batch>(second) == 0);
  CHECK(f.mind.queued() == 1);
  f.ask_for(5);
  CHECK(f.run(second) == 5);
  CHECK(f.run(second) == 0);
  SUBCASE("until it is back") {
    f.add_worker(third, 0);
    CHECK(f.run(second) == 1);
  }
  SUBCASE("until lost workers should have been back") {
    f.wait(2s);
    CHECK(f.run(second) == 0);
    REQUIRE(f.mind.next_wake());
    CHECK(*f.mind.next_wake() <= f.now + 1s);
    f.wait(1s);
    CHECK(f.run(second) == 1);
  }
  SUBCASE("or until its client takes it back") {
    deliver(f.mind, f.gateway, cancel{{f.gateway_instance, 1}}, f.now);
    CHECK(f.mind.queued() == 0);
    f.add_worker(third, 1);
    CHECK(f.link.count<batch>(second) + f.link.count<batch>(third) == 0);
  }
  SUBCASE("or its gateway is gone") {
    down(f.mind, f.gateway, f.now);
    CHECK(f.mind.queued() == 0);
  }
  SUBCASE("or its model is unloaded") {
    deliver(f.mind, second, catalogue{}, f.now);
    CHECK(f.mind.queued() == 0);
    const auto refused = f.link.take<outcome>(f.gateway);
    REQUIRE(refused);
    CHECK(refused->id == 1);
    CHECK(refused->result.error().code == errc::not_found);
    CHECK_FALSE(f.mind.next_wake().value_or(time_point::max()) <= f.now);
  }
  f.wait(1h);
  CHECK(f.mind.queued() == 0);
}

TEST_CASE("a suspect waits for no more than half of the time that it has, and ends by its deadline") {
  fixture f(0);
  f.ask_for(1, 800ms);
  const auto [victim, left] = f.link.count<batch>(first) == 1 ? std::pair(first, second) : std::pair(second, first);
  down(f.mind, victim, f.now);
  f.wait(399ms);
  CHECK(f.link.count<batch>(left) == 0);
  SUBCASE("there is room") {
    f.wait(1ms);
    CHECK(f.run(left) == 1);
  }
  SUBCASE("there is none") {
    f.ask_for(2, 1h);
    f.wait(401ms);
    CHECK(f.mind.queued() == 0);
    CHECK(f.run(left) == 2);
    CHECK(f.run(left) == 0);
  }
}

TEST_CASE("suspects leave one worker to everybody else, and are tried in their order") {
  fixture f(3);
  CHECK(f.mind.queued() == 3);
  f.add_worker(third, 2);
  CHECK(f.link.count<batch>(second) + f.link.count<batch>(third) == 1);
  f.ask_for(5);
  const auto busy = f.link.count<batch>(second) == 1 ? std::pair(second, third) : std::pair(third, second);
  CHECK(f.link.count<batch>(busy.second) == 1);
  CHECK(f.mind.queued() == 2);
  CHECK(f.run(busy.second) == 5);
  CHECK(f.link.count<batch>(busy.second) == 0);
  CHECK(f.run(busy.first) == 1);
  CHECK(f.link.count<batch>(second) + f.link.count<batch>(third) == 1);
  std::vector<request_id> then;
  for (int i = 0; i < 2; ++i)
    for (const auto peer : {second, third})
      if (const auto done = f.run(peer); done != 0) then.push_back(done);
  CHECK(then == std::vector<request_id>{2, 3});
  CHECK(f.mind.queued() == 0);
}

TEST_CASE("poison ends three workers, never the last") {
  fixture f(2);
  peer_id left = second;
  for (peer_id next = third; next < third + 2; ++next) {
    CHECK(f.link.count<batch>(left) == 0);
    CHECK_FALSE(f.link.take<outcome>(f.gateway));
    f.add_worker(next, 1);
    const auto victim = f.link.count<batch>(left) == 1 ? left : next;
    CHECK(f.ids(f.link.take<batch>(victim)) == fixture::list{1});
    left = victim == left ? next : left;
    f.wait(1500ms);
    down(f.mind, victim, f.now);
  }
  const auto poison = f.link.take<outcome>(f.gateway);
  REQUIRE(poison);
  CHECK(poison->id == 1);
  CHECK(poison->result.error().code == errc::poisoned);
  f.add_worker(third + 2, 0);
  CHECK(f.run(left) == 2);
}

TEST_CASE("a worker that is all there is gets suspects at once, as many as it has places for, of all its models") {
  two_models f(2);
  down(f.mind, first, f.now);
  CHECK(f.mind.queued() == 4);
  // It says of its models one by one that they are ready, as workers do.
  up(f.mind, second, service_kind::worker, second, f.now);
  deliver(f.mind, second, catalogue{{f.models[0]}}, f.now);
  deliver(f.mind, second, catalogue{f.models}, f.now);
  for (int i = 0; i < 4; ++i) f.offer_of(second);
  CHECK(f.link.count<batch>(second) == 4);
}

TEST_CASE("suspects of two models leave a worker to everybody else together, too") {
  two_models f(1);
  f.add_worker(second, 2, f.models);
  down(f.mind, first, f.now);
  f.add_worker(third, 2, f.models);
  CHECK(f.link.count<batch>(second) + f.link.count<batch>(third) == 1);
  CHECK(f.mind.queued() == 1);
  SUBCASE("the other has its turn when the first is over") {
    const auto busy = f.link.count<batch>(second) == 1 ? second : third;
    const auto given = f.link.take<batch>(busy);
    deliver(f.mind, busy, completion{given->id, {given->members[0].key}, {}, 1ms, 1, true, 90}, f.now);
  }
  CHECK(f.link.count<batch>(second) + f.link.count<batch>(third) == 1);
}

TEST_CASE("what is held makes nobody wait and is no reason to refuse anybody") {
  fixture f(1);
  auto urgent = matrix_request(9);
  urgent.time_left = 1ms;
  deliver(f.mind, f.gateway, std::move(urgent), f.now);
  CHECK(f.run(second) == 9);
  CHECK_FALSE(f.link.take<outcome>(f.gateway));
}
