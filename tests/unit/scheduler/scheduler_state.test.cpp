#include <algorithm>

#include "unit/scheduler/scheduler_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

constexpr auto gateway = scheduler_fixture::gateway;
constexpr auto gateway_instance = scheduler_fixture::gateway_instance;
constexpr peer_id worker = 2;
constexpr peer_id other_worker = 3;

struct fixture : scheduler_fixture {
  using scheduler_fixture::scheduler_fixture;
  void finish(peer_id peer, const batch& message, std::vector<request_id> late = {}) {
    completion over{message.id, {}, {}, 1000us, 1, true, 0};
    for (const auto& member : message.members) over.finished.push_back(member.key);
    for (auto id : late) over.returned.push_back({gateway_instance, id});
    deliver(mind, peer, over, now);
    offer_of(peer);
  }
};

using list = fixture::list;

}  // namespace

TEST_CASE("the most urgent model is served first, and one that has waited long has a turn all the same") {
  fixture f;
  auto second = matrix_model();
  second.name = "n";
  f.add_worker(worker, 1, {matrix_model(), second});
  f.ask(1);  // runs, so that others wait
  auto first = f.link.take<batch>(worker);
  const auto ask = [&](request_id id, const std::string& model, priority as) {
    auto request = matrix_request(id, 1, 4);
    request.model = model;
    request.priority = as;
    deliver(f.mind, gateway, std::move(request), f.now);
  };
  ask(2, "m", priority::batch);
  ask(3, "n", priority::critical);
  f.finish(worker, *first);
  auto next = f.link.take<batch>(worker);
  CHECK(f.ids(*next) == list{3});
  std::vector<request_id> order;
  for (request_id id = 10; id < 30; ++id) {
    ask(id, "n", priority::critical);
    f.now += 1ms;
    f.finish(worker, *next);
    next = f.link.take<batch>(worker);
    order.push_back(f.ids(*next).front());
  }
  const auto turn = std::find(order.begin(), order.end(), request_id{2});
  REQUIRE(turn != order.end());
  CHECK(turn - order.begin() <= 8);
}

TEST_CASE("an idle worker gets a request at once") {
  fixture f;
  f.add_worker(worker);
  f.ask(1);
  const auto sent = f.link.take<batch>(worker);
  REQUIRE(sent);
  CHECK(f.ids(*sent) == list{1});
  CHECK(sent->offer != 0);
}

TEST_CASE("the staged batch grows until it starts, and later requests wait") {
  fixture f;
  f.add_worker(worker);
  f.ask(1);
  f.ask(2);
  f.ask(3);
  const auto running = f.link.take<batch>(worker);
  const auto staged = f.link.take<batch>(worker);
  const auto extension = f.link.take<batch>(worker);
  REQUIRE(running);
  REQUIRE(staged);
  REQUIRE(extension);
  CHECK(f.ids(*staged) == list{2});
  CHECK(extension->id == staged->id);
  CHECK(extension->offer == 0);
  CHECK(f.ids(*extension) == list{3});

  deliver(f.mind, worker, completion{running->id, {{gateway_instance, 1}}, {}, 1ms, 1, true, 0}, f.now);
  f.ask(4);
  CHECK_FALSE(f.link.take<batch>(worker));
  deliver(f.mind, worker, offer{60}, f.now);
  const auto next = f.link.take<batch>(worker);
  REQUIRE(next);
  CHECK(f.ids(*next) == list{4});
}

TEST_CASE("a completion can offer the place that became free") {
  fixture f;
  f.add_worker(worker, 1);
  f.ask(1);
  const auto running = f.link.take<batch>(worker);
  f.ask(2);
  CHECK_FALSE(f.link.take<batch>(worker));
  deliver(f.mind, worker, completion{running->id, {{gateway_instance, 1}}, {}, 1ms, 1, true, 70}, f.now);
  const auto next = f.link.take<batch>(worker);
  REQUIRE(next);
  CHECK(next->offer == 70);
}

TEST_CASE("a batch takes only requests that may be joined, and no more rows than the model allows") {
  fixture f;
  f.ask(9);
  CHECK(f.link.take<outcome>(gateway)->result.error().code == errc::not_found);
  f.add_worker(worker, 0);
  f.ask(1, 3);
  f.ask(2, 3, 5);  // another width
  f.ask(3, 4);
  f.ask(4, 2);  // 3 + 4 + 2 > 8 rows
  f.ask(5, 1);
  deliver(f.mind, worker, offer{50}, f.now);
  CHECK(f.ids(*f.link.take<batch>(worker)) == list{1, 3, 5});
  deliver(f.mind, worker, offer{51}, f.now);
  CHECK(f.ids(*f.link.take<batch>(worker)) == list{2});
}

TEST_CASE("padding joins like lengths only while little of the batch is padding") {
  auto spec = matrix_model();
  spec.pad_symbol = "width";
  fixture f;
  f.add_worker(worker, 0, {spec});
  f.ask(1, 1, 10);
  f.ask(2, 1, 100);  // 90 of 200 would be padding
  f.ask(3, 1, 12);
  deliver(f.mind, worker, offer{50}, f.now);
  CHECK(f.ids(*f.link.take<batch>(worker)) == list{1, 3});
}

TEST_CASE("a model without a batch symbol runs each request alone") {
  auto spec = matrix_model();
  spec.batch_symbol.clear();
  fixture f;
  f.add_worker(worker, 0, {spec});
  f.ask(1);
  f.ask(2);
  deliver(f.mind, worker, offer{50}, f.now);
  CHECK(f.ids(*f.link.take<batch>(worker)) == list{1});
}

TEST_CASE("a full queue refuses at once and says when to come back") {
  scheduler::scheduler_options options;
  options.max_queue = 2;
  fixture f(options);
  f.add_worker(worker, 0);
  f.ask(1);
  f.ask(2);
  f.ask(3);
  const auto refused = f.link.take<outcome>(gateway);
  REQUIRE(refused);
  CHECK(refused->id == 3);
  CHECK(refused->result.error().code == errc::overloaded);
  CHECK(refused->result.error().retryable);
  CHECK(refused->result.error().retry_after > 0ms);
}

TEST_CASE("the requests of a dead worker go to another: the running ones alone, the staged ones together") {
  fixture f;
  f.add_worker(worker);
  f.ask(1);
  const auto first = f.link.take<batch>(worker);
  f.ask(2);
  f.ask(3);
  f.finish(worker, *first);  // now {2, 3} is in front
  REQUIRE(f.link.take<batch>(worker));
  f.ask(4);
  f.ask(5);
  f.link.sent.clear();
  down(f.mind, worker, f.now);
  CHECK(f.mind.queued() == 4);
  f.add_worker(other_worker, 4);
  CHECK(f.ids(*f.link.take<batch>(other_worker)) == list{2});
  CHECK(f.ids(*f.link.take<batch>(other_worker)) == list{3});
  CHECK(f.ids(*f.link.take<batch>(other_worker)) == list{4, 5});
}

TEST_CASE("a request that ends two workers while alone is poison; a first death in company does not count") {
  fixture f;
  f.add_worker(worker, 0);
  f.ask(1);
  f.ask(2);
  deliver(f.mind, worker, offer{50}, f.now);
  CHECK(f.link.take<batch>(worker)->members.size() == 2);
  peer_id next = 10;
  down(f.mind, worker, f.now);
  for (int death = 0; death < 2; ++death) {  // each worker dies with request 1 running alone
    CHECK_FALSE(f.link.take<outcome>(gateway));
    f.add_worker(next, 1);
    const auto alone = f.link.take<batch>(next);
    REQUIRE(alone);
    CHECK(f.ids(*alone) == list{1});
    CHECK(alone->members.front().request.deaths == static_cast<std::uint32_t>(death));
    down(f.mind, next++, f.now);
  }
  const auto poison = f.link.take<outcome>(gateway);
  REQUIRE(poison);
  CHECK(poison->id == 1);
  CHECK(poison->result.error().code == errc::poisoned);
  f.add_worker(next, 1);
  CHECK(f.ids(*f.link.take<batch>(next)) == list{2});
}

TEST_CASE("a worker that leaves in order costs its requests nothing") {
  fixture f;
  f.add_worker(worker);
  f.ask(1);
  for (int i = 0; i < 3; ++i) {
    const auto peer = static_cast<peer_id>(20 + i);
    down(f.mind, i == 0 ? worker : peer - 1, f.now, {errc::cancelled, "goodbye"});
    f.add_worker(peer, 1);
    const auto again = f.link.take<batch>(peer);
    REQUIRE(again);
    CHECK(again->members.front().request.deaths == 0);
  }
}

TEST_CASE("members that came too late for a batch are queued again in front, in their order") {
  fixture f;
  f.add_worker(worker);
  f.ask(1);
  f.ask(2);
  const auto running = f.link.take<batch>(worker);
  const auto staged = f.link.take<batch>(worker);
  f.ask(3);
  f.ask(4);
  f.link.sent.clear();
  // The staged batch has started and is over before the worker saw 3 and 4.
  f.finish(worker, *running);
  f.ask(5);
  CHECK(f.ids(*f.link.take<batch>(worker)) == list{5});
  completion over{staged->id, {{gateway_instance, 2}}, {}, 1ms, 1, true, 0};
  deliver(f.mind, worker, over, f.now);
  CHECK(f.mind.queued() == 2);
  deliver(f.mind, worker, offer{90}, f.now);
  const auto again = f.link.take<batch>(worker);
  REQUIRE(again);
  CHECK(f.ids(*again) == list{3, 4});
  // The worker's own word on them comes after that and changes nothing.
  deliver(f.mind, worker, completion{staged->id, {}, {{gateway_instance, 3}, {gateway_instance, 4}}, 0ms, 0, false, 0},
          f.now);
  CHECK(f.mind.queued() == 0);
}

TEST_CASE("a cancel removes a queued request, and is passed on for a dispatched one") {
  fixture f;
  f.add_worker(worker, 1);
  f.ask(1);
  f.ask(2);
  deliver(f.mind, gateway, cancel{{gateway_instance, 2}}, f.now);
  CHECK(f.mind.queued() == 0);
  CHECK_FALSE(f.link.take<cancel>(worker));
  deliver(f.mind, gateway, cancel{{gateway_instance, 1}}, f.now);
  REQUIRE(f.link.take<cancel>(worker));
}

TEST_CASE("a request that was taken back while it ran, and is given again, runs again") {
  fixture f;
  f.add_worker(worker, 1);
  f.ask(1);
  const auto taken_back = f.link.take<batch>(worker);
  deliver(f.mind, gateway, cancel{{gateway_instance, 1}}, f.now);
  f.ask(1);
  CHECK(f.mind.queued() == 1);
  SUBCASE("when what it was with is over") {
    deliver(f.mind, worker, completion{taken_back->id, {{gateway_instance, 1}}, {}, 1ms, 1, true, 2}, f.now);
    CHECK(f.ids(*f.link.take<batch>(worker)) == list{1});
    const std::vector<std::pair<peer_id, request_id>> once{{gateway, 1}};  // the second time it has no outcome yet
    CHECK(f.link.settled == once);
  }
  SUBCASE("or when the worker that had it is gone, once") {
    down(f.mind, worker, f.now);
    CHECK(f.mind.queued() == 1);
  }
}

TEST_CASE("a request that is taken back and given again does not join the batch that it was in") {
  fixture f;
  f.add_worker(worker);
  f.ask(1);
  const auto running = f.link.take<batch>(worker);
  f.ask(2);
  f.ask(3);
  const auto staged = f.link.take<batch>(worker);
  CHECK(f.ids(*staged) == list{2});
  CHECK(f.link.take<batch>(worker)->id == staged->id);
  deliver(f.mind, gateway, cancel{{gateway_instance, 2}}, f.now);
  auto again = matrix_request(2);
  again.attempt = 1;
  deliver(f.mind, gateway, std::move(again), f.now);
  CHECK(f.link.count<batch>(worker) == 0);
  // The worker has dropped the one that was taken back; the other one waits.
  deliver(f.mind, worker, completion{staged->id, {{gateway_instance, 2}}, {}, 0ms, 0, false, 0}, f.now);
  CHECK(f.mind.queued() == 1);
  deliver(f.mind, worker, completion{running->id, {{gateway_instance, 1}}, {}, 1ms, 1, true, 90}, f.now);
  CHECK(f.ids(*f.link.take<batch>(worker)) == list{2});
}

TEST_CASE("a staged batch that a more urgent request joins goes before others") {
  fixture f;
  f.add_worker(worker);
  f.ask(1);
  const auto running = f.link.take<batch>(worker);
  f.ask(2, 1, 4, priority::batch);
  const auto staged = f.link.take<batch>(worker);
  f.ask(3, 1, 4, priority::standard);
  const auto more = f.link.take<batch>(worker);
  REQUIRE(more);
  CHECK(more->id == staged->id);
  f.ask(4, 1, 4, priority::standard);  // it is found there again
  CHECK(f.link.take<batch>(worker)->id == staged->id);
}

TEST_CASE("a request whose deadline runs out while it waits leaves the queue") {
  fixture f;
  f.add_worker(worker, 0);
  f.ask(1);
  CHECK(f.mind.next_wake());
  f.mind.on_wake(f.now + 4999ms);
  CHECK(f.mind.queued() == 1);
  f.mind.on_wake(f.now + 5000ms);
  CHECK(f.mind.queued() == 0);
}

TEST_CASE("link credit goes back for every request that is over, however it ended") {
  fixture f;
  f.add_worker(worker, 1);
  f.ask(1);
  const auto running = f.link.take<batch>(worker);
  f.ask(2);
  f.ask(3);
  CHECK(f.link.settled.empty());
  deliver(f.mind, worker, completion{running->id, {{gateway_instance, 1}}, {}, 1ms, 1, true, 0}, f.now);
  deliver(f.mind, gateway, cancel{{gateway_instance, 2}}, f.now);
  f.mind.on_wake(f.now + 6s);  // 3 has waited for too long
  const std::vector<std::pair<peer_id, request_id>> all{{gateway, 1}, {gateway, 2}, {gateway, 3}};
  CHECK(f.link.settled == all);
}

TEST_CASE("a gateway that is gone takes its queued requests with it") {
  fixture f;
  f.add_worker(worker, 0);
  f.ask(1);
  down(f.mind, gateway, f.now);
  CHECK(f.mind.queued() == 0);
}

TEST_CASE("gateways hear of models when they connect, when workers come, and when the last worker goes") {
  fixture f;
  CHECK(f.link.take<catalogue>(gateway)->models.empty());
  f.add_worker(worker);
  auto known = f.link.take<catalogue>(gateway);
  REQUIRE(known);
  CHECK(known->models.at(0).state == model_state::ready);
  f.link.sent.clear();
  down(f.mind, worker, f.now);
  known = f.link.take<catalogue>(gateway);
  REQUIRE(known);
  CHECK(known->models.at(0).state == model_state::loading);
  CHECK(known->models.at(0).inputs.size() == 1);  // still known, so requests can be checked and wait
}

TEST_CASE("messages from peers that have no business sending them are dropped") {
  fixture f;
  f.add_worker(worker);
  f.link.sent.clear();
  deliver(f.mind, worker, matrix_request(1), f.now);
  deliver(f.mind, 77, matrix_request(1), f.now);
  deliver(f.mind, gateway, offer{1}, f.now);
  deliver(f.mind, gateway, payload{}, f.now);
  CHECK(f.link.sent.empty());
  CHECK(f.mind.queued() == 0);
}

TEST_CASE("requests that are too large for the link end at once, and the worker's place is free again") {
  fixture f;
  f.add_worker(worker, 1);
  f.link.narrow.insert(worker);
  f.ask(1);
  const auto refused = f.link.take<outcome>(gateway);
  REQUIRE(refused);
  CHECK(refused->id == 1);
  CHECK(refused->result.error().code == errc::invalid_argument);
  f.link.narrow.clear();
  f.ask(2);
  const auto sent = f.link.take<batch>(worker);
  REQUIRE(sent);
  CHECK(sent->offer == 1);
  // The staged batch may fail to grow, too: only what came last is refused.
  deliver(f.mind, worker, offer{2}, f.now);
  f.ask(3);
  REQUIRE(f.link.take<batch>(worker));
  f.link.narrow.insert(worker);
  f.ask(4);
  const auto last = f.link.take<outcome>(gateway);
  REQUIRE(last);
  CHECK(last->id == 4);
  CHECK(f.mind.queued() == 0);
}

TEST_CASE(
    "a worker to whom too much waits to be written keeps nobody waiting whom another can serve, and is tried again") {
  fixture f;
  f.add_worker(worker, 1);
  f.link.full.insert(worker);
  for (request_id id = 1; id <= 5; ++id) f.ask(id, 1, static_cast<std::int64_t>(id));
  CHECK(f.mind.queued() == 5);
  CHECK_FALSE(f.link.take<outcome>(gateway));
  SUBCASE("another comes") {
    f.add_worker(other_worker, 1);
    CHECK(f.ids(*f.link.take<batch>(other_worker)) == list{1});
  }
  SUBCASE("it is tried again by itself") {
    f.link.full.clear();
    REQUIRE(f.mind.next_wake());
    CHECK(*f.mind.next_wake() <= f.now + 100ms);
    f.now += 100ms;
    f.mind.on_wake(f.now);
    CHECK(f.ids(*f.link.take<batch>(worker)) == list{1});
  }
}

TEST_CASE("a request of no rows is served as any other, also where a batch is full") {
  fixture f;
  f.add_worker(worker);
  f.ask(1);
  REQUIRE(f.link.take<batch>(worker));
  f.ask(2, 32);
  REQUIRE(f.link.take<batch>(worker));
  f.ask(3, 0);
  CHECK_FALSE(f.link.take<batch>(worker));
  CHECK(f.mind.queued() == 1);
}

TEST_CASE("a cache's figures are passed on beside the workers', until it is gone") {
  fixture f;
  constexpr peer_id cache = 21;
  up(f.mind, cache, service_kind::cache, 210, f.now);
  const auto told_of_caches = [&] {
    f.now += 2s;
    f.mind.on_wake(f.now);
    std::size_t caches = 0;
    while (const auto told = f.link.take<report>(gateway))
      caches = static_cast<std::size_t>(std::count_if(told->services.begin(), told->services.end(),
                                                      [](const auto& s) { return s.service == "cache"; }));
    return caches;
  };
  deliver(f.mind, cache, report{{{"cache", 210, {{"shoal_cache_objects", 3}}}}}, f.now);
  CHECK(told_of_caches() == 1);
  down(f.mind, cache, f.now);
  CHECK(told_of_caches() == 0);
}
