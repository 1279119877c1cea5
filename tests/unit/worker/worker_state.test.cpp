// Batches: offered, staged, joined by late members, run, answered.
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
constexpr auto other_gateway = fixture::other_gateway;
constexpr auto gateway_instance = fixture::gateway_instance;
constexpr auto other_instance = fixture::other_instance;
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

TEST_CASE("what a request waits for its batch's turn counts as queued") {
  fixture f;
  f.give(1, {1});
  f.give(2, {2});
  f.now += 20ms;
  f.computed_last();
  f.now += 5ms;
  f.computed_last();
  CHECK(f.link.take<outcome>(gateway)->queue_time == 300us);
  CHECK(f.link.take<outcome>(gateway)->queue_time == 20ms + 300us);
}

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
  computed stray;
  stray.batch = 9;
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

TEST_CASE("a payload that the gateway cannot send yet is asked for again") {
  fixture f;
  f.give(f.of(1, f.take_offer(), {1}, true));
  CHECK(f.link.take<fetch>(gateway));
  deliver(f.mind, gateway, payload{1, 2, fail(errc::overloaded, "too much waits to be written")}, f.now);
  CHECK(f.link.count<fetch>(gateway) == 0);
  REQUIRE(f.mind.next_wake());
  f.wait(*f.mind.next_wake() - f.now);
  CHECK(f.link.take<fetch>(gateway));
  deliver(f.mind, gateway, payload{1, 2, std::vector<tensor>{matrix(1, 4)}}, f.now);
  CHECK(f.running() == list{1});
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

// --- cancels and deadlines ------------------------------------------------------------------------------------------

TEST_CASE("a cancelled member leaves the staged batch, and is answered if it runs: who holds the request knows") {
  fixture f;
  f.give(1, {1, 2});
  f.give(2, {3, 4});
  deliver(f.mind, scheduler, cancel{{gateway_instance, 1}}, f.now);
  deliver(f.mind, scheduler, cancel{{gateway_instance, 3}}, f.now);
  deliver(f.mind, scheduler, cancel{{other_instance, 4}}, f.now);  // another gateway's 4
  deliver(f.mind, gateway, cancel{{gateway_instance, 4}}, f.now);  // not a gateway's to say
  CHECK(f.unexpected() == 1);
  f.computed_last();
  CHECK(f.link.take<outcome>(gateway)->id == 1);
  CHECK(f.link.take<outcome>(gateway)->id == 2);
  CHECK(f.running() == list{4});
}

TEST_CASE("a scheduler takes back what it has given, not what another one has given in its place") {
  fixture f;
  up(f.mind, fixture::other_scheduler, service_kind::scheduler, fixture::other_scheduler, f.now);
  f.give(1, {1});
  deliver(f.mind, fixture::other_scheduler, cancel{{gateway_instance, 1}}, f.now);
  f.computed_last();
  CHECK(f.link.take<outcome>(gateway)->id == 1);
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
