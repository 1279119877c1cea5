#include "gateway/gateway_state.hpp"

#include "gateway_fixture.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;
using gateway::gateway_options;

namespace {
using fixture = gateway_fixture;
}

// --- one outcome ----------------------------------------------------------------------------------------------------

TEST_CASE("a client's request goes to a scheduler under the gateway's own id and comes back under the client's") {
  fixture f;
  f.add_scheduler();
  auto request = matrix_request(7);
  request.attempt = 3;
  request.deaths = 9;  // strangers' claims are not believed
  request.payload_held = true;
  f.ask(f.client, request);
  const auto head = f.handed();
  CHECK(head.id != 7);
  CHECK(head.attempt == 0);
  CHECK(head.deaths == 0);
  CHECK_FALSE(head.payload_held);
  CHECK(head.time_left == 5s);
  CHECK(head.inputs.at(0).data.size() == 16);
  CHECK(f.in_flight() == 1);
  CHECK(f.held_bytes() == 16);
  f.finish(head);
  const auto told = f.answer();
  CHECK(told.id == 7);
  CHECK(told.attempt == 3);
  CHECK(told.model == "m");
  CHECK(told.version == 1);
  REQUIRE(told.result);
  CHECK(told.result->at(0).name == "y");
  CHECK(f.mind.idle());
  CHECK(f.in_flight() == 0);
  CHECK(f.held_bytes() == 0);
  CHECK(f.link.settled == std::vector{std::pair(f.scheduler, head.id)});
  CHECK(f.figure("shoal_gateway_requests_total{outcome=ok}") == 1);
}

TEST_CASE("the first outcome wins, whoever it comes from; later ones are counted and dropped") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  const auto head = f.handed();
  f.finish(head);
  f.fail_with(head, {errc::internal, "too late"});
  f.finish(head);
  CHECK(f.answer().result);
  CHECK(f.link.count<outcome>(f.client) == 0);
  CHECK(f.late() == 2);
}

TEST_CASE("a door's request is answered once through its function") {
  fixture f;
  f.add_scheduler();
  std::vector<outcome> told;
  submission handed_in{900, matrix_request(0), [&](outcome o) { told.push_back(std::move(o)); }};
  f.mind.submit(handed_in, f.now);
  const auto head = f.handed();
  CHECK(head.id == 900);
  CHECK(told.empty());
  f.finish(head);
  f.finish(head);
  REQUIRE(told.size() == 1);
  CHECK(told.front().result);
}

TEST_CASE("a door's request that is wrong is answered at once") {
  fixture f;
  f.add_scheduler();
  std::vector<outcome> told;
  submission handed_in{900, matrix_request(0, 1, 4, "absent"), [&](outcome o) { told.push_back(std::move(o)); }};
  f.mind.submit(handed_in, f.now);
  REQUIRE(told.size() == 1);
  CHECK(told.front().result.error().code == errc::not_found);
  CHECK(told.front().model == "absent");
  CHECK(f.mind.idle());
}

TEST_CASE("a scheduler's refusal reaches the client as it is") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  error full{errc::overloaded, "the queue is full"};
  full.retry_after = 100ms;
  f.fail_with(f.handed(), full);
  CHECK(f.refusal() == full);
  CHECK(f.figure("shoal_gateway_requests_total{outcome=overloaded}") == 1);
}

// --- deadlines ------------------------------------------------------------------------------------------------------

TEST_CASE("a deadline ends a request by the gateway's own timer, and the scheduler is told") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  const auto head = f.handed();
  REQUIRE(f.mind.next_wake());
  CHECK(*f.mind.next_wake() <= f.now + 5s);
  f.wait(5s - 1us);
  CHECK(f.link.count<outcome>(f.client) == 0);
  f.wait(1us);
  CHECK(f.refusal().code == errc::deadline_exceeded);
  CHECK(f.link.take<cancel>(f.scheduler)->key == request_key{f.instance, head.id});
  CHECK(f.link.settled.size() == 1);
  f.finish(head);
  CHECK(f.link.count<outcome>(f.client) == 0);
  CHECK(f.late() == 1);
}

TEST_CASE("a request without a deadline gets the default, an enormous one is cut, a negative one is over already") {
  gateway_options options;
  options.default_deadline = 2s;
  options.max_deadline = 1min;
  fixture f(options);
  f.add_scheduler();
  auto request = matrix_request(1);
  request.time_left = 0us;
  f.ask(f.client, request);
  CHECK(f.handed().time_left == 2s);
  request.id = 2;
  request.time_left = microseconds::max();
  f.ask(f.client, request);
  CHECK(f.handed().time_left == 1min);
  request.id = 3;
  request.time_left = -1us;
  f.ask(f.client, request);
  CHECK(f.refusal().code == errc::deadline_exceeded);
  request.id = 4;
  request.time_left = microseconds::min();
  f.ask(f.client, request);
  CHECK(f.refusal().code == errc::deadline_exceeded);
}

TEST_CASE("what has waited at the gateway is taken off the time that the scheduler is given") {
  fixture f;
  f.add_scheduler();
  down(f.mind, f.scheduler, f.now);
  f.ask(1);
  f.now += 2s;
  f.add_scheduler();
  CHECK(f.handed().time_left == 3s);
}

// --- clients take requests back, or go ------------------------------------------------------------------------------

TEST_CASE("a client that is gone takes its requests with it, and only its own") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  f.ask(1, f.other_client);  // the same id on another connection is another request
  const auto gone = f.handed();
  const auto stays = f.handed();
  down(f.mind, f.client, f.now);
  CHECK(f.link.take<cancel>(f.scheduler)->key == request_key{f.instance, gone.id});
  CHECK_FALSE(f.link.take<cancel>(f.scheduler));
  CHECK(f.in_flight() == 1);
  f.finish(gone);
  CHECK(f.late() == 1);
  f.finish(stays);
  CHECK(f.answer(f.other_client).result);
  CHECK(f.link.count<outcome>(f.client) == 0);
}

TEST_CASE("a client's cancel ends its request with that outcome and reaches the scheduler") {
  fixture f;
  f.add_scheduler();
  f.ask(5);
  const auto head = f.handed();
  deliver(f.mind, f.other_client, cancel{{0, 5}}, f.now);  // not this client's
  CHECK(f.in_flight() == 1);
  deliver(f.mind, f.client, cancel{{0, 5}}, f.now);
  const auto told = f.answer();
  CHECK(told.id == 5);
  CHECK(told.result.error().code == errc::cancelled);
  CHECK(f.link.take<cancel>(f.scheduler)->key == request_key{f.instance, head.id});
  CHECK(f.link.settled.size() == 1);
  CHECK(f.held_bytes() == 0);
  deliver(f.mind, f.client, cancel{{0, 5}}, f.now);  // again: nothing left to cancel
  CHECK(f.link.sent.empty());
  f.ask(5);  // the id is free again
  CHECK(f.handed().id != head.id);
}

TEST_CASE("a door's withdrawal ends its request once; unknown tickets are ignored") {
  fixture f;
  f.add_scheduler();
  std::vector<outcome> told;
  submission handed_in{900, matrix_request(0), [&](outcome o) { told.push_back(std::move(o)); }};
  f.mind.submit(handed_in, f.now);
  f.mind.withdraw(901);
  CHECK(told.empty());
  f.mind.withdraw(900);
  f.mind.withdraw(900);
  REQUIRE(told.size() == 1);
  CHECK(told.front().result.error().code == errc::cancelled);
  CHECK(f.link.count<cancel>(f.scheduler) == 1);
}

TEST_CASE("an id that is in flight already is refused, and the first request goes on") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  const auto head = f.handed();
  f.ask(1);
  CHECK(f.refusal().code == errc::invalid_argument);
  CHECK(f.link.count<infer>(f.scheduler) == 0);
  f.finish(head);
  CHECK(f.answer().result);
}

// --- bounds ---------------------------------------------------------------------------------------------------------

TEST_CASE("beyond max_requests a request is refused at once with the time to come back") {
  gateway_options options;
  options.max_requests = 2;
  fixture f(options);
  f.add_scheduler();
  f.ask(1);
  f.ask(2);
  f.ask(3);
  const auto refused = f.refusal();
  CHECK(refused.code == errc::overloaded);
  CHECK(refused.retryable);
  CHECK(refused.retry_after > 0ms);
  f.finish(f.handed());
  CHECK(f.answer().result);
  f.ask(4);
  CHECK(f.link.count<outcome>(f.client) == 0);
}

TEST_CASE("beyond max_bytes a request is refused, and bytes are given back with the outcome") {
  gateway_options options;
  options.max_bytes = 100;
  fixture f(options);
  f.add_scheduler();
  f.ask(f.client, matrix_request(1, 1, 20));  // 80 bytes
  f.ask(f.client, matrix_request(2, 1, 6));   // 24 more
  CHECK(f.refusal().code == errc::overloaded);
  f.ask(f.client, matrix_request(3, 1, 5));  // 20 fit
  CHECK(f.held_bytes() == 100);
  f.finish(f.handed());
  CHECK(f.held_bytes() == 20);
  f.ask(f.client, matrix_request(4, 1, 26));  // more than there ever is
  CHECK(f.answer().result);
  CHECK(f.refusal().code == errc::overloaded);
}

TEST_CASE("a scheduler that grants no more credit refuses at once") {
  fixture f;
  f.add_scheduler();
  f.link.full.insert(f.scheduler);
  f.ask(1);
  CHECK(f.refusal().code == errc::overloaded);
  CHECK(f.mind.idle());
}

TEST_CASE("a gateway that drains refuses what is new and finishes what it has") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  f.mind.start_draining();
  CHECK_FALSE(f.mind.idle());
  f.ask(2);
  const auto refused = f.refusal();
  CHECK(refused.code == errc::unavailable);
  CHECK(refused.retryable);
  f.finish(f.handed());
  CHECK(f.answer().result);
  CHECK(f.mind.idle());
  CHECK_FALSE(f.board->ready(f.now));
}

// --- payloads -------------------------------------------------------------------------------------------------------

TEST_CASE("a large payload stays at the gateway until a worker fetches it") {
  gateway_options options;
  options.inline_bytes = 16;
  fixture f(options);
  f.add_scheduler();
  f.ask(f.client, matrix_request(1, 1, 4));
  CHECK_FALSE(f.handed().payload_held);  // 16 bytes ride along
  f.ask(f.client, matrix_request(2, 1, 5));
  const auto head = f.handed();
  CHECK(head.payload_held);
  REQUIRE(head.inputs.size() == 1);
  CHECK(head.inputs[0].data.empty());
  CHECK(head.inputs[0].dims == shape{1, 5});

  for (int i = 0; i < 2; ++i) {  // a second worker may need it after the death of the first
    deliver(f.mind, f.worker, fetch{head.id, 4}, f.now);
    const auto sent = f.link.take<payload>(f.worker);
    REQUIRE(sent);
    CHECK(sent->id == head.id);
    CHECK(sent->attempt == 4);
    REQUIRE(sent->inputs);
    CHECK(sent->inputs->at(0).data.size() == 20);
  }
  f.finish(head);
  deliver(f.mind, f.worker, fetch{head.id, 0}, f.now);
  const auto over = f.link.take<payload>(f.worker);
  REQUIRE(over);
  CHECK(over->inputs.error().code == errc::cancelled);
}

TEST_CASE("only workers may fetch, and only workers and schedulers may answer") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  const auto head = f.handed();
  deliver(f.mind, f.other_client, fetch{head.id, 0}, f.now);
  f.finish(head, f.other_client);
  f.finish(head, 4711);
  CHECK(f.link.sent.empty());
  CHECK(f.in_flight() == 1);
  CHECK(f.unexpected() == 3);
}

// --- answers that cannot be written ---------------------------------------------------------------------------------

TEST_CASE("messages that nobody has a reason to send are counted and change nothing") {
  fixture f;
  f.add_scheduler();
  f.link.sent.clear();
  deliver(f.mind, f.worker, matrix_request(1), f.now);
  deliver(f.mind, 4711, matrix_request(1), f.now);
  deliver(f.mind, f.worker, cancel{{0, 1}}, f.now);
  deliver(f.mind, f.client, catalogue{}, f.now);
  deliver(f.mind, f.client, report{}, f.now);
  deliver(f.mind, f.client, batch{}, f.now);
  deliver(f.mind, f.worker, offer{}, f.now);
  deliver(f.mind, f.worker, completion{}, f.now);
  deliver(f.mind, f.worker, offer{}, f.now);
  deliver(f.mind, f.client, payload{}, f.now);
  CHECK(f.unexpected() == 10);
  CHECK(f.link.sent.empty());
  CHECK(f.mind.idle());
  CHECK(f.board->models.load()->models.size() == 1);
}

TEST_CASE("an outcome whose client went away in the same moment is dropped without harm") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  const auto head = f.handed();
  f.link.gone.insert(f.client);
  f.finish(head);
  CHECK(f.mind.idle());
  down(f.mind, f.client, f.now);
  CHECK(f.link.sent.empty());
}

TEST_CASE("an answer that the model cannot have given is not given on; what is right afterwards is late") {
  const auto output = [](std::int64_t rows, std::int64_t width, const char* name = "y") {
    return std::vector<tensor>{matrix(rows, width, name)};
  };
  auto halves = output(2, 4);
  halves[0].type = dtype::fp16;
  auto cut = output(2, 4);
  cut[0].data = cut[0].data.slice(0, 8);
  auto flat = output(2, 4);
  flat[0].dims = {8};
  auto twice = output(2, 4);
  twice.push_back(twice[0]);
  auto negative = output(2, 4);
  negative[0].dims = {-2, -4};
  request_id id = 1;
  for (const auto& wrong : {output(1, 4), output(2, 5), output(2, 4, "z"), halves, cut, flat, twice, negative, {}}) {
    fixture f;
    f.add_scheduler();
    f.ask(f.client, matrix_request(id++, 2, 4));
    const auto head = f.handed();
    outcome done;
    done.id = head.id;
    done.result = wrong;
    deliver(f.mind, f.worker, done, f.now);
    const auto refused = f.refusal();
    CHECK(refused.code == errc::internal);
    CHECK(contains(refused.message, "not the model's"));
    CHECK(f.figure("shoal_gateway_wrong_answers_total") == 1);
    f.finish(head);
    CHECK(f.late() == 1);
    CHECK(f.in_flight() == 0);
  }
}
