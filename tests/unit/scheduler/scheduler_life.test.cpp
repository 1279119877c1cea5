// Models that workers list no more, and orders to load and unload.
#include "scheduler/scheduler_state.hpp"

#include <doctest/doctest.h>

#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;
using scheduler::scheduler_options;
using scheduler::scheduler_state;

namespace {

constexpr peer_id gateway = 1;
constexpr peer_id worker = 2;
constexpr peer_id other_worker = 3;
constexpr instance_id gateway_instance = 100;

struct fixture {
  memory_link link;
  metrics figures;
  scheduler_state mind;
  time_point now{1h};
  offer_id next_offer = 1;

  fixture() : mind({.forget_after = 60s}, link, figures) {
    up(mind, gateway, service_kind::gateway, gateway_instance, now);
  }
  void add_worker(peer_id peer, std::size_t offers, std::vector<model_spec> models = {matrix_model()}) {
    up(mind, peer, service_kind::worker, peer, now);
    lists(peer, std::move(models));
    for (std::size_t i = 0; i < offers; ++i) deliver(mind, peer, offer{next_offer++}, now);
  }
  void lists(peer_id peer, std::vector<model_spec> models) { deliver(mind, peer, catalogue{std::move(models)}, now); }
  void ask(request_id id) { deliver(mind, gateway, matrix_request(id), now); }
  std::vector<model_spec> published() {
    std::optional<catalogue> last;
    while (auto told = link.take<catalogue>(gateway)) last = std::move(told);
    REQUIRE(last);
    return last->models;
  }
};

}  // namespace

TEST_CASE("a model that its only worker lists no more is forgotten, and what waits for it is refused") {
  fixture f;
  f.add_worker(worker, 0);
  f.ask(1);
  f.ask(2);
  f.link.sent.clear();
  f.lists(worker, {});
  REQUIRE_FALSE(f.link.sent.empty());
  CHECK(std::holds_alternative<catalogue>(f.link.sent.front().second));  // first, so that gateways choose anew rightly
  CHECK(f.published().empty());
  for (const request_id id : {1, 2}) {
    const auto told = f.link.take<outcome>(gateway);
    REQUIRE(told);
    CHECK(told->id == id);
    CHECK(told->result.error().code == errc::not_found);
  }
  CHECK(f.mind.queued() == 0);
  f.ask(3);
  CHECK(f.link.take<outcome>(gateway)->result.error().code == errc::not_found);
}

TEST_CASE("while another worker serves the model, what waits goes there") {
  fixture f;
  f.add_worker(worker, 0);
  f.add_worker(other_worker, 0);
  f.ask(1);
  f.lists(worker, {});
  CHECK(f.published().front().state == model_state::ready);
  CHECK_FALSE(f.link.take<outcome>(gateway));
  deliver(f.mind, other_worker, offer{50}, f.now);
  CHECK(f.link.take<batch>(other_worker));
}

TEST_CASE(
    "a batch that a worker returns since the model was unloaded is refused, so that its gateway may ask for another") {
  fixture f;
  f.add_worker(worker, 1);
  f.ask(1);
  const auto sent = f.link.take<batch>(worker);
  REQUIRE(sent);
  f.lists(worker, {});
  deliver(f.mind, worker, completion{sent->id, {}, {{gateway_instance, 1}}, 0us, 0, true, 9}, f.now);
  const auto told = f.link.take<outcome>(gateway);
  REQUIRE(told);
  CHECK(told->result.error().code == errc::not_found);
}

TEST_CASE("a batch that runs when the model is unloaded is finished") {
  fixture f;
  f.add_worker(worker, 1);
  f.ask(1);
  const auto sent = f.link.take<batch>(worker);
  REQUIRE(sent);
  f.lists(worker, {});
  deliver(f.mind, worker, completion{sent->id, {{gateway_instance, 1}}, {}, 1ms, 1, true, 9}, f.now);
  CHECK_FALSE(f.link.take<outcome>(gateway));
}

TEST_CASE("a model whose worker was lost is expected back for a while; then it is forgotten") {
  fixture f;
  f.add_worker(worker, 0);
  down(f.mind, worker, f.now);
  f.ask(1);
  f.now += 30s;
  f.mind.on_wake(f.now);
  CHECK(f.published().size() == 1);
  REQUIRE(f.mind.next_wake());
  CHECK(*f.mind.next_wake() <= f.now + 30s);
  f.now += 30s;
  f.mind.on_wake(f.now);
  CHECK(f.published().empty());
}

TEST_CASE("a worker that comes back in time keeps its model known") {
  fixture f;
  f.add_worker(worker, 0);
  down(f.mind, worker, f.now);
  f.add_worker(other_worker, 0);
  f.now += 120s;
  f.mind.on_wake(f.now);
  CHECK(f.published().front().state == model_state::ready);
}

TEST_CASE("an order goes to every worker; the answer has a sentence of each, the lost and the late included") {
  fixture f;
  f.add_worker(worker, 0);
  f.add_worker(other_worker, 0);
  f.add_worker(4, 0);
  deliver(f.mind, gateway, manage{{gateway_instance, 8}, life_verb::unload, "m", 1, false, 5s}, f.now);
  CHECK(f.link.take<manage>(worker)->model == "m");
  const request_key key{gateway_instance, 8};
  deliver(f.mind, worker, managed{key, std::vector<worker_answer>{{worker, std::string("unloaded")}}}, f.now);
  down(f.mind, other_worker, f.now);
  CHECK_FALSE(f.link.take<managed>(gateway));
  f.now += 5s;
  f.mind.on_wake(f.now);
  const auto told = f.link.take<managed>(gateway);
  REQUIRE(told);
  CHECK(told->key == key);
  REQUIRE(told->result->size() == 3);
  CHECK(told->result->at(0).result);
  CHECK(told->result->at(1).result.error().code == errc::unavailable);
  CHECK(told->result->at(2).result.error().code == errc::deadline_exceeded);
}

TEST_CASE("without a worker an order is answered at once") {
  fixture f;
  deliver(f.mind, gateway, manage{{gateway_instance, 8}, life_verb::load, "m", 1, false, 5s}, f.now);
  const auto told = f.link.take<managed>(gateway);
  REQUIRE(told);
  CHECK(told->result.error().code == errc::unavailable);
}
