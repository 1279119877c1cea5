// What the scheduler makes of connections that come back, of batches that are closed, and of time.
#include <doctest/doctest.h>

#include "scheduler/scheduler_state.hpp"
#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;
using scheduler::scheduler_state;

namespace {

constexpr peer_id gateway = 1;
constexpr peer_id gateway_again = 4;
constexpr peer_id worker = 2;
constexpr peer_id other_worker = 3;
constexpr instance_id gateway_instance = 100;
using list = std::vector<request_id>;

struct fixture {
  memory_link link;
  metrics figures;
  scheduler_state mind{{}, link, figures};
  time_point now{1h};
  offer_id next_offer = 1;

  fixture() { up(mind, gateway, service_kind::gateway, gateway_instance, now); }
  void add_worker(peer_id peer, int offers, model_spec spec = matrix_model()) {
    up(mind, peer, service_kind::worker, peer, now);
    deliver(mind, peer, catalogue{{std::move(spec)}}, now);
    for (int i = 0; i < offers; ++i) deliver(mind, peer, offer{next_offer++}, now);
  }
  void ask(request_id id, peer_id from = gateway, std::uint32_t attempt = 0) {
    auto request = matrix_request(id);
    request.attempt = attempt;
    deliver(mind, from, std::move(request), now);
  }
  batch taken(peer_id by = worker) {
    auto message = link.take<batch>(by);
    REQUIRE(message);
    return std::move(*message);
  }
  static list ids(const batch& message) {
    list found;
    for (const auto& member : message.members) found.push_back(member.key.id);
    return found;
  }
  void over(peer_id by, batch_id id, const list& finished, offer_id again = 0) {
    completion done{id, {}, {}, 1ms, 1, true, again};
    for (const auto request : finished) done.finished.push_back({gateway_instance, request});
    deliver(mind, by, done, now);
  }
};

}  // namespace

TEST_CASE("a gateway that comes back and asks again is served again, although its request is with a worker") {
  fixture f;
  f.add_worker(worker, 2);
  f.ask(1);
  const auto first = f.taken();
  down(f.mind, gateway, f.now);
  up(f.mind, gateway_again, service_kind::gateway, gateway_instance, f.now);
  f.ask(1, gateway_again, 1);
  const auto second = f.taken();
  CHECK(f.ids(second) == list{1});
  CHECK(second.id != first.id);
  f.over(worker, first.id, {1});  // dropped there with the gateway; says nothing about the second
  down(f.mind, worker, f.now);
  f.add_worker(other_worker, 1);
  CHECK(f.ids(f.taken(other_worker)) == list{1});
}

TEST_CASE("a gateway whose newer connection is up already loses nothing with the older one") {
  fixture f;
  f.add_worker(worker, 1);
  f.ask(1);
  const auto running = f.taken();
  f.ask(2);
  up(f.mind, gateway_again, service_kind::gateway, gateway_instance, f.now);
  f.ask(1, gateway_again, 1);
  f.ask(2, gateway_again, 1);
  f.ask(3, gateway_again);
  CHECK(f.mind.queued() == 2);
  down(f.mind, gateway, f.now);
  CHECK(f.mind.queued() == 2);
  f.over(worker, running.id, {1}, 90);
  CHECK(f.ids(f.taken()) == list{2, 3});
}

TEST_CASE("a batch that returned members is not filled with them again") {
  fixture f;
  f.add_worker(worker, 2);
  f.ask(1);
  f.ask(2);
  f.ask(3);
  f.taken();
  const auto staged = f.taken();
  CHECK(f.ids(f.taken()) == list{3});
  deliver(f.mind, worker, completion{staged.id, {}, {{gateway_instance, 3}}, 0ms, 0, false, 0}, f.now);
  CHECK(f.link.count<batch>(worker) == 0);
  CHECK(f.mind.queued() == 1);
  f.ask(4);
  CHECK(f.link.count<batch>(worker) == 0);
  deliver(f.mind, worker, offer{90}, f.now);
  CHECK(f.ids(f.taken()) == list{3, 4});
}

TEST_CASE("a model that its only worker loads again keeps its shapes, so that requests wait and join") {
  fixture f;
  f.add_worker(worker, 0);
  down(f.mind, worker, f.now);
  auto loading = matrix_model();
  loading.state = model_state::loading;
  loading.inputs.clear();
  loading.outputs.clear();
  f.link.sent.clear();
  f.add_worker(other_worker, 2, loading);
  const auto known = f.link.take<catalogue>(gateway);
  REQUIRE(known);
  CHECK(known->models.at(0).state == model_state::loading);
  CHECK(known->models.at(0).inputs.size() == 1);
  f.ask(1);
  f.ask(2);
  CHECK(f.mind.queued() == 2);
  deliver(f.mind, other_worker, catalogue{{matrix_model()}}, f.now);
  CHECK(f.ids(f.taken(other_worker)) == list{1, 2});
}

TEST_CASE("a request without rows is joined only where one with rows would be") {
  fixture f;
  auto spec = matrix_model();
  spec.inputs[0].dims[0].min = 0;
  f.add_worker(worker, 0, spec);
  deliver(f.mind, gateway, matrix_request(1, 0, 4), f.now);
  deliver(f.mind, gateway, matrix_request(2, 1, 5), f.now);  // another width
  deliver(f.mind, gateway, matrix_request(3, 1, 4), f.now);
  deliver(f.mind, worker, offer{90}, f.now);
  CHECK(f.ids(f.taken()) == list{1, 3});
}

TEST_CASE("deadlines of requests that were answered are not kept for an hour") {
  fixture f;
  f.add_worker(worker, 1);
  const auto begin = f.now;
  for (request_id id = 1; id <= 2000; ++id) {
    auto request = matrix_request(id);
    request.time_left = 1h;
    deliver(f.mind, gateway, std::move(request), f.now);
    const auto message = f.taken();
    f.over(worker, message.id, {id}, f.next_offer++);
    f.now += 1s;
  }
  f.mind.on_wake(f.now);  // the report of the last second
  REQUIRE(f.mind.next_wake());
  CHECK(*f.mind.next_wake() > begin + 1h + 1500s);
}

TEST_CASE("what one gateway reports, all gateways hear; of one that is gone, no more") {
  fixture f;
  constexpr peer_id second = 9;
  up(f.mind, second, service_kind::gateway, 900, f.now);
  deliver(f.mind, second, report{{{"gateway", 900, {{"shoal_gateway_requests_in_flight", 3}}, {}}}}, f.now);
  const auto heard_of = [&](instance_id instance) {
    f.now += 1s;
    f.mind.on_wake(f.now);
    bool heard = false;
    while (const auto told = f.link.take<report>(gateway))
      for (const auto& each : told->services) heard = heard || each.instance == instance;
    return heard;
  };
  CHECK(heard_of(900));
  down(f.mind, second, f.now);
  CHECK_FALSE(heard_of(900));
}
