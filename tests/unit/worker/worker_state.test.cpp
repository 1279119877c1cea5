#include "worker/worker_state.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "unit/support/memory_link.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;
using worker::worker_options;
using worker::worker_state;

namespace {

constexpr peer_id scheduler = 1;
constexpr peer_id other_scheduler = 2;
constexpr peer_id gateway = 11;
constexpr peer_id other_gateway = 12;
constexpr instance_id gateway_instance = 111;
constexpr instance_id other_instance = 112;

using list = std::vector<request_id>;

struct fixture {
  memory_link link;
  metrics figures;
  std::vector<load> loads;
  std::vector<compute> jobs;
  worker_state mind;
  time_point now{1h};

  explicit fixture(bool connected = true)
      : mind({}, link,
             {[this](load what) { loads.push_back(std::move(what)); }, [this](compute job) { jobs.push_back(std::move(job)); }},
             figures) {
    if (!connected) return;
    up(mind, gateway, service_kind::gateway, gateway_instance, now);
    up(mind, scheduler, service_kind::scheduler, scheduler, now);
  }

  static batch_member member(request_id id, bool held = false, instance_id from = gateway_instance) {
    auto request = matrix_request(id);
    request.attempt = 2;
    request.payload_held = held;
    if (held) request.inputs[0].data = {};
    return {{from, id}, std::move(request), 300us};
  }
  static batch of(batch_id id, offer_id against, const list& ids, bool held = false) {
    batch message{id, against, {}};
    for (const auto request : ids) message.members.push_back(member(request, held));
    return message;
  }
  void give(batch message, peer_id from = scheduler) { deliver(mind, from, std::move(message), now); }
  /// Stages against an offer that is out.
  void give(batch_id id, const list& ids, peer_id from = scheduler) { give(of(id, take_offer(from), ids), from); }
  offer_id take_offer(peer_id from = scheduler) {
    const auto offered = link.take<offer>(from);
    REQUIRE(offered);
    return offered->id;
  }
  /// The compute thread is done with the last job; requests in `failing` failed.
  void computed_last(const list& failing = {}) {
    REQUIRE_FALSE(jobs.empty());
    computed done{jobs.back().batch, {}, 1500us, 4};
    for (const auto& member : jobs.back().members) {
      if (std::find(failing.begin(), failing.end(), member.key.id) == failing.end())
        done.results.emplace_back(std::vector<tensor>{matrix(1, 4, "y")});
      else
        done.results.emplace_back(fail(errc::invalid_argument, "index out of range"));
    }
    mind.on(done, now);
  }
  list running() const {
    list ids;
    if (!jobs.empty())
      for (const auto& member : jobs.back().members) ids.push_back(member.key.id);
    return ids;
  }
  completion over(peer_id at = scheduler) {
    auto told = link.take<completion>(at);
    REQUIRE(told);
    return std::move(*told);
  }
  static list ids(const std::vector<request_key>& keys) {
    list all;
    for (const auto& key : keys) all.push_back(key.id);
    return all;
  }
  void wait(steady::duration by) {
    now += by;
    mind.on_wake(now);
  }
  double figure(const std::string& name) const {
    for (const auto& [known, value] : figures.snapshot())
      if (known == name) return value;
    FAIL("there is no figure " << name);
    return 0;
  }
  double unexpected() const { return figure("shoal_worker_unexpected_messages_total"); }
};

}  // namespace

// --- offers ---------------------------------------------------------------------------------------------------------

TEST_CASE("a scheduler that comes is told the models and offered two places") {
  fixture f;
  CHECK(f.link.take<catalogue>(scheduler));
  CHECK(f.link.count<offer>(scheduler) == 2);
  const auto first = f.take_offer();
  CHECK(first != 0);
  CHECK(f.take_offer() != first);
}

TEST_CASE("batches and offers of one scheduler together are never more than two") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  CHECK(f.link.count<offer>(scheduler) == 0);
  for (batch_id next = 3; next < 30; ++next) {
    f.computed_last();
    const auto told = f.over();
    CHECK(told.batch == next - 2);
    CHECK(told.batch_over);
    REQUIRE(told.offer != 0);  // the place that became free
    CHECK(f.link.count<offer>(scheduler) == 0);
    f.give(f.of(next, told.offer, {next}));
    CHECK(f.jobs.size() == next - 1);
  }
}

TEST_CASE("a batch against an offer that was never made is dropped and counted") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  f.give(f.of(3, 77, {3}));
  CHECK(f.unexpected() == 1);
  f.computed_last();
  f.computed_last();
  CHECK(f.jobs.size() == 2);
  CHECK(f.mind.idle());
}

TEST_CASE("a scheduler without traffic does not hold the places of another") {
  fixture f;
  up(f.mind, other_scheduler, service_kind::scheduler, other_scheduler, f.now);
  CHECK(f.link.count<offer>(scheduler) == 2);
  CHECK(f.link.count<offer>(other_scheduler) == 2);
  f.give(1, {1}, other_scheduler);
  f.give(2, {2}, other_scheduler);
  f.computed_last();
  CHECK(f.over(other_scheduler).offer != 0);
  CHECK(f.link.count<completion>(scheduler) == 0);
  CHECK(f.running() == list{2});
}

TEST_CASE("two schedulers may use the same batch id") {
  fixture f;
  up(f.mind, other_scheduler, service_kind::scheduler, other_scheduler, f.now);
  f.give(1, {1});
  f.give(1, {2}, other_scheduler);
  f.computed_last();
  CHECK(f.ids(f.over().finished) == list{1});
  CHECK(f.running() == list{2});
  f.computed_last();
  CHECK(f.ids(f.over(other_scheduler).finished) == list{2});
}

// --- one runs, one is staged ----------------------------------------------------------------------------------------

TEST_CASE("one batch runs, the next waits for it, and outcomes go straight to the gateway") {
  fixture f;
  f.give(1, {1, 2});
  f.give(2, {3});
  REQUIRE(f.jobs.size() == 1);
  CHECK(f.running() == list{1, 2});
  CHECK(f.jobs[0].model == "m");
  CHECK(f.jobs[0].version == 1);
  CHECK(f.jobs[0].members[0].inputs.at(0).data.size() == 16);
  f.computed_last();
  CHECK(f.running() == list{3});
  for (const request_id id : {1, 2}) {
    const auto told = f.link.take<outcome>(gateway);
    REQUIRE(told);
    CHECK(told->id == id);
    CHECK(told->attempt == 2);
    CHECK(told->result);
    CHECK(told->queue_time == 300us);
    CHECK(told->compute_time == 1500us);
    CHECK(told->batch_rows == 4);
  }
  const auto told = f.over();
  CHECK(f.ids(told.finished) == list{1, 2});
  CHECK(told.returned.empty());
  CHECK(told.rows == 4);
  CHECK(f.figure("shoal_worker_batches_total") == 1);
  CHECK(f.figure("shoal_worker_rows_total") == 4);
}

TEST_CASE("a member that fails fails alone") {
  fixture f;
  f.give(1, {1, 2, 3});
  f.computed_last({2});
  std::map<request_id, bool> succeeded;
  while (const auto told = f.link.take<outcome>(gateway)) succeeded[told->id] = told->result.has_value();
  CHECK(succeeded == std::map<request_id, bool>{{1, true}, {2, false}, {3, true}});
  CHECK(f.ids(f.over().finished) == list{1, 2, 3});
  CHECK(f.figure("shoal_worker_failed_total") == 1);
}

TEST_CASE("the staged batch grows until it starts; members that come later are returned") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  f.give(f.of(2, 0, {3, 4}));
  f.computed_last();
  CHECK(f.running() == list{2, 3, 4});
  f.over();
  f.give(f.of(2, 0, {5}));
  const auto late = f.over();
  CHECK_FALSE(late.batch_over);
  CHECK(late.offer == 0);
  CHECK(f.ids(late.returned) == list{5});
  f.computed_last();
  CHECK(f.ids(f.over().finished) == list{2, 3, 4});
  f.give(f.of(2, 0, {6}));  // and long after it is over
  CHECK(f.ids(f.over().returned) == list{6});
  CHECK(f.mind.idle());
}

TEST_CASE("an answer for a batch that does not run is counted") {
  fixture f;
  computed stray{9, {}, 0us, 0};
  f.mind.on(stray, f.now);
  f.give(1, {1});
  f.mind.on(stray, f.now);
  CHECK(f.unexpected() == 2);
  CHECK_FALSE(f.mind.idle());
}

TEST_CASE("each member's outcome goes to the gateway that holds it") {
  fixture f;
  up(f.mind, other_gateway, service_kind::gateway, other_instance, f.now);
  batch mixed{1, f.take_offer(), {f.member(7), f.member(7, false, other_instance)}};
  f.give(std::move(mixed));
  f.computed_last();
  CHECK(f.link.count<outcome>(gateway) == 1);
  CHECK(f.link.count<outcome>(other_gateway) == 1);
}

TEST_CASE("an outcome that cannot be written is replaced by the error") {
  fixture f;
  f.give(1, {1});
  f.link.full.insert(gateway);
  f.computed_last();  // neither can be written now: the gateway's timer ends the request
  CHECK(f.link.count<outcome>(gateway) == 0);
  CHECK(f.ids(f.over().finished) == list{1});
  CHECK(f.mind.idle());
}

// --- payloads -------------------------------------------------------------------------------------------------------

TEST_CASE("a held payload is fetched before the batch starts, and another batch goes first meanwhile") {
  fixture f;
  f.give(f.of(1, f.take_offer(), {1, 2}, true));
  CHECK(f.jobs.empty());
  const auto asked = f.link.take<fetch>(gateway);
  REQUIRE(asked);
  CHECK(asked->id == 1);
  CHECK(asked->attempt == 2);
  CHECK(f.link.take<fetch>(gateway)->id == 2);

  f.give(2, {3});
  CHECK(f.running() == list{3});
  deliver(f.mind, gateway, payload{1, 2, std::vector<tensor>{matrix(1, 4)}}, f.now);
  deliver(f.mind, gateway, payload{2, 2, std::vector<tensor>{matrix(1, 4)}}, f.now);
  CHECK(f.jobs.size() == 1);
  f.computed_last();
  CHECK(f.over().batch == 2);
  REQUIRE(f.running() == list{1, 2});
  CHECK(f.jobs.back().members[0].inputs.at(0).data.size() == 16);
  CHECK(f.link.count<fetch>(gateway) == 0);
}

TEST_CASE("a payload that the gateway refuses ends that member, the others run") {
  fixture f;
  f.give(f.of(1, f.take_offer(), {1, 2}, true));
  deliver(f.mind, gateway, payload{1, 2, fail(errc::cancelled, "the request is over")}, f.now);
  CHECK(f.jobs.empty());
  deliver(f.mind, gateway, payload{2, 2, std::vector<tensor>{matrix(1, 4)}}, f.now);
  CHECK(f.running() == list{2});
  const auto dropped = f.over();
  CHECK(f.ids(dropped.finished) == list{1});
  CHECK_FALSE(dropped.batch_over);
  CHECK(f.figure("shoal_worker_dropped_total") == 1);
}

TEST_CASE("a batch whose members are all over is over itself and frees its place") {
  fixture f;
  f.give(f.of(1, f.take_offer(), {1, 2}, true));
  for (const request_id id : {1, 2})
    deliver(f.mind, gateway, payload{id, 2, fail(errc::cancelled, "the request is over")}, f.now);
  const auto told = f.over();
  CHECK(told.batch_over);
  CHECK(told.offer != 0);
  CHECK(f.ids(told.finished) == list{1, 2});
  CHECK(f.jobs.empty());
  CHECK(f.mind.idle());
}

TEST_CASE("payloads from others than gateways, and for nobody, change nothing") {
  fixture f;
  f.give(f.of(1, f.take_offer(), {1}, true));
  deliver(f.mind, scheduler, payload{1, 2, std::vector<tensor>{matrix(1, 4)}}, f.now);
  CHECK(f.unexpected() == 1);
  up(f.mind, other_gateway, service_kind::gateway, other_instance, f.now);
  deliver(f.mind, other_gateway, payload{1, 2, std::vector<tensor>{matrix(1, 4)}}, f.now);  // its own request 1
  CHECK(f.jobs.empty());
}

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

TEST_CASE("a lost gateway's staged members are dropped; what runs is answered if it is back by then") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  down(f.mind, gateway, f.now);
  up(f.mind, 13, service_kind::gateway, gateway_instance, f.now);
  f.computed_last();
  const auto told = f.link.take<outcome>(13);
  REQUIRE(told);
  CHECK(told->id == 1);
  CHECK(f.jobs.size() == 1);
  CHECK(f.mind.idle());
  CHECK(f.figure("shoal_worker_dropped_total") == 1);
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

// --- cancels and deadlines ------------------------------------------------------------------------------------------

TEST_CASE("a cancelled member leaves the staged batch, or is not answered if it runs") {
  fixture f;
  f.give(1, {1, 2});
  f.give(2, {3, 4});
  deliver(f.mind, scheduler, cancel{{gateway_instance, 1}}, f.now);
  deliver(f.mind, scheduler, cancel{{gateway_instance, 3}}, f.now);
  deliver(f.mind, scheduler, cancel{{other_instance, 4}}, f.now);  // another gateway's 4
  deliver(f.mind, gateway, cancel{{gateway_instance, 4}}, f.now);  // not a gateway's to say
  CHECK(f.unexpected() == 1);
  f.computed_last();
  CHECK(f.link.take<outcome>(gateway)->id == 2);
  CHECK(f.link.count<outcome>(gateway) == 0);
  CHECK(f.running() == list{4});
}

TEST_CASE("a deadline that is over drops a staged member before it is run") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  f.now += 5s;  // matrix_request's deadline
  auto later = f.of(2, 0, {3});
  f.give(std::move(later));
  f.computed_last();
  CHECK(f.running() == list{3});
  CHECK(f.figure("shoal_worker_dropped_total") == 1);
}

TEST_CASE("a batch that waits for payloads ends with the last deadline of its members") {
  fixture f;
  f.give(f.of(1, f.take_offer(), {1}, true));
  CHECK(f.mind.next_wake() == f.now + 5s);
  f.wait(5s);
  CHECK(f.over().batch_over);
  CHECK(f.mind.idle());
  deliver(f.mind, gateway, payload{1, 2, std::vector<tensor>{matrix(1, 4)}}, f.now);  // too late, for nobody
  CHECK(f.jobs.empty());
}

TEST_CASE("a late staged member asks for no wake while another batch runs") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  f.wait(5s);
  CHECK((!f.mind.next_wake() || *f.mind.next_wake() > f.now));
  CHECK(f.jobs.size() == 1);
  f.computed_last();
  CHECK(f.mind.idle());
}

// --- schedulers go --------------------------------------------------------------------------------------------------

TEST_CASE("a lost scheduler's staged batch is dropped, the running one is finished and answered") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  down(f.mind, scheduler, f.now);
  f.link.sent.clear();
  up(f.mind, 3, service_kind::scheduler, scheduler, f.now);  // the same one, by a new connection
  CHECK(f.link.count<offer>(3) == 2);
  f.computed_last();
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

TEST_CASE("a worker that drains announces nothing to serve, offers nothing, and finishes what it has taken") {
  fixture f;
  loaded ready{matrix_model(), 0.5};
  f.mind.on(ready, f.now);
  f.give(1, {1});
  f.give(2, {2});
  f.link.sent.clear();
  f.mind.start_draining();
  CHECK(f.link.take<catalogue>(scheduler)->models.empty());
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
  CHECK(f.link.take<catalogue>(other_scheduler)->models.empty());
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
