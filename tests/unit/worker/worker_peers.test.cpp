// Gateways and schedulers that come and go, models, drain, reports.
#include "worker_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {
using fixture = worker_fixture;
using list = fixture::list;
constexpr auto scheduler = fixture::scheduler;
constexpr auto other_scheduler = fixture::other_scheduler;
constexpr auto gateway = fixture::gateway;
constexpr auto gateway_instance = fixture::gateway_instance;
constexpr auto other_instance = fixture::other_instance;

bool nothing_ready(const std::optional<catalogue>& told) {
  return told && std::none_of(told->models.begin(), told->models.end(),
                              [](const model_spec& spec) { return spec.state == model_state::ready; });
}
}  // namespace

// --- gateways come and go -------------------------------------------------------------------------------------------

TEST_CASE("a batch waits for a gateway that is not connected yet, and fetches when it comes") {
  fixture f(false);
  up(f.mind, scheduler, service_kind::scheduler, scheduler, f.now);
  f.give(f.of(1, f.take_offer(), {1}, true));
  CHECK(f.jobs.empty());
  f.wait(999ms);
  up(f.mind, gateway, service_kind::gateway, gateway_instance, f.now);
  CHECK(f.link.take<fetch>(gateway)->id == 1);
  deliver(f.mind, gateway, payload{1, 2, std::vector<tensor>{matrix(1, 4)}}, f.now);
  CHECK(f.running() == list{1});
}

TEST_CASE("members whose gateway does not come are returned after a while, the others run") {
  fixture f;
  batch mixed{1, f.take_offer(), {f.member(1), f.member(2, false, other_instance)}};
  f.give(std::move(mixed));
  CHECK(f.jobs.empty());
  REQUIRE(f.mind.next_wake());
  CHECK(*f.mind.next_wake() == f.now + 1s);
  f.wait(1s);
  const auto back = f.over();
  CHECK(back.returned == std::vector{request_key{other_instance, 2}});
  CHECK_FALSE(back.batch_over);
  CHECK(f.running() == list{1});
  CHECK(f.figure("shoal_worker_returned_total") == 1);
}

TEST_CASE("a batch of strangers only is returned and over") {
  fixture f;
  batch strangers{1, f.take_offer(), {f.member(1, false, other_instance), f.member(2, true, other_instance)}};
  f.give(std::move(strangers));
  f.wait(1s);
  CHECK(f.ids(f.over().returned) == list{1, 2});
  const auto told = f.over();
  CHECK(told.batch_over);
  CHECK(told.offer != 0);
  CHECK(f.mind.idle());
}

TEST_CASE("a lost gateway's staged members go back; what runs is answered if it is back by then") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  down(f.mind, gateway, f.now);
  CHECK(f.ids(f.over().returned) == list{2});
  up(f.mind, 13, service_kind::gateway, gateway_instance, f.now);
  f.computed_last();
  const auto told = f.link.take<outcome>(13);
  REQUIRE(told);
  CHECK(told->id == 1);
  CHECK(f.jobs.size() == 1);
  CHECK(f.mind.idle());
  CHECK(f.figure("shoal_worker_dropped_total") == 0);
}

TEST_CASE("payloads that were to come by a gateway's older connection are asked for by the newer one") {
  fixture f;
  f.give(f.of(1, f.take_offer(), {1}, true));
  CHECK(f.link.take<fetch>(gateway));
  up(f.mind, 13, service_kind::gateway, gateway_instance, f.now);
  CHECK(f.link.count<fetch>(13) == 0);
  down(f.mind, gateway, f.now);
  CHECK(f.link.take<fetch>(13));
}

TEST_CASE("an outcome whose gateway is not reached at the end is not called finished, so that the request comes back") {
  fixture f;
  f.give(1, {1});
  down(f.mind, gateway, f.now);
  f.computed_last();
  const auto told = f.over();
  CHECK(told.batch_over);
  CHECK(told.finished.empty());
  CHECK(told.offer != 0);
  CHECK(f.mind.idle());
}

TEST_CASE("a gateway whose newer connection is up already loses nothing with the older one") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  up(f.mind, 13, service_kind::gateway, gateway_instance, f.now);
  down(f.mind, gateway, f.now);
  f.computed_last();
  f.computed_last();
  CHECK(f.link.count<outcome>(13) == 2);
}

// --- schedulers go --------------------------------------------------------------------------------------------------

TEST_CASE("a lost scheduler's staged batch is dropped, the running one is finished and answered") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  down(f.mind, scheduler, f.now);
  f.link.sent.clear();
  up(f.mind, 3, service_kind::scheduler, scheduler, f.now);  // the same one, by a new connection
  CHECK(f.link.count<offer>(3) == 1);                        // the running batch has the other place
  f.computed_last();
  CHECK(f.link.count<offer>(3) == 2);
  CHECK(f.link.take<outcome>(gateway)->id == 1);
  CHECK(f.link.count<completion>(3) == 0);
  CHECK(f.link.count<completion>(scheduler) == 0);
  CHECK(f.jobs.size() == 1);
  CHECK(f.mind.idle());
}

TEST_CASE("messages that nobody has a reason to send to a worker are counted") {
  fixture f;
  f.link.sent.clear();
  deliver(f.mind, gateway, f.of(1, 1, {1}), f.now);
  deliver(f.mind, 4711, f.of(1, 1, {1}), f.now);
  deliver(f.mind, gateway, matrix_request(1), f.now);
  deliver(f.mind, scheduler, outcome{}, f.now);
  deliver(f.mind, scheduler, completion{}, f.now);
  CHECK(f.unexpected() == 5);
  CHECK(f.link.sent.empty());
  CHECK(f.jobs.empty());
}

// --- models, drain, reports -----------------------------------------------------------------------------------------

TEST_CASE("models are announced as they load, as they are ready and as they fail") {
  fixture f;
  f.link.sent.clear();
  f.mind.load({{"/models/m/1", "m", 1}, {"/models/bad/2", "bad", 2}});
  REQUIRE(f.loads.size() == 2);
  CHECK(f.loads[1].folder == "/models/bad/2");
  auto told = f.link.take<catalogue>(scheduler);
  REQUIRE(told);
  REQUIRE(told->models.size() == 2);
  CHECK(told->models[0].state == model_state::loading);

  loaded ready{matrix_model(), 0.5};
  f.mind.on(ready, f.now);
  model_spec broken;
  broken.name = "bad";
  broken.version = 2;
  broken.state = model_state::failed;
  broken.reason = "node 3";
  loaded failed{broken, 0.1};
  f.mind.on(failed, f.now);
  CHECK(f.link.take<catalogue>(scheduler)->models.at(1) == matrix_model());
  CHECK(f.link.take<catalogue>(scheduler)->models.at(0).reason == "node 3");
  CHECK(f.figure("shoal_worker_models_ready") == 1);
}

TEST_CASE("a worker that drains announces nothing that is ready, offers nothing, and finishes what it has taken") {
  fixture f;
  loaded ready{matrix_model(), 0.5};
  f.mind.on(ready, f.now);
  f.give(1, {1});
  f.give(2, {2});
  f.link.sent.clear();
  f.mind.start_draining();
  CHECK(nothing_ready(f.link.take<catalogue>(scheduler)));
  CHECK_FALSE(f.mind.idle());
  f.computed_last();
  CHECK(f.over().offer == 0);
  CHECK(f.running() == list{2});
  f.computed_last();
  CHECK(f.over().offer == 0);
  CHECK(f.mind.idle());
  CHECK(f.link.count<outcome>(gateway) == 2);
  CHECK(f.link.count<offer>(scheduler) == 0);
  up(f.mind, other_scheduler, service_kind::scheduler, other_scheduler, f.now);
  CHECK(f.link.count<offer>(other_scheduler) == 0);
  CHECK(nothing_ready(f.link.take<catalogue>(other_scheduler)));
}

TEST_CASE("figures are reported once a second while there is something to report, and not when idle") {
  fixture f;
  f.give(1, {1});
  f.computed_last();
  f.link.sent.clear();
  REQUIRE(f.mind.next_wake() == f.now + 1s);
  f.wait(1s);
  const auto told = f.link.take<report>(scheduler);
  REQUIRE(told);
  REQUIRE(told->services.size() == 1);
  CHECK(told->services[0].service == "worker");
  CHECK_FALSE(f.mind.next_wake());
}
