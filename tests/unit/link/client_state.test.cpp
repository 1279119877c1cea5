// The mind of a client under a virtual clock: failover, waits, retries and their budget, and one outcome for each
// request.
#include <doctest/doctest.h>

#include <limits>

#include "link/client_state.hpp"
#include "unit/support/memory_link.hpp"

namespace shoal::test {
namespace {

using namespace std::chrono_literals;
using namespace protocol;
using link::client_policy;
using link::client_state;

client_policy patient() {
  client_policy with;
  with.waits = with.queues = with.retries = true;
  with.jitter = 0;
  return with;
}

struct fixture {
  explicit fixture(client_policy with = patient()) : mind(port, "ipc://a, ipc://b", with) {}

  request_id submit(milliseconds within = 5s, const char* model = "m") {
    auto body = matrix_request(0, 1, 4, model);
    body.time_left = {};
    return mind.submit(
        std::move(body), within, [this](outcome with) { ended.push_back(std::move(with)); }, now);
  }
  void gateway(peer_id peer) { up(mind, peer, service_kind::gateway, peer, now); }
  /// The one that the gateway got, taken off the link.
  infer taken(peer_id at) {
    auto body = port.take<infer>(at);
    REQUIRE(body);
    return *body;
  }
  void answer(peer_id from, request_id wire) {
    deliver(mind, from, outcome{wire, 0, std::vector<tensor>{}, "m", 1}, now);
  }
  void refuse(peer_id from, request_id wire, error why) {
    deliver(mind, from, outcome{wire, 0, tl::unexpected(std::move(why))}, now);
  }
  void pass(milliseconds time) {
    now += time;
    mind.tick(now);
  }
  /// What has been told since the last call.
  std::vector<outcome> told() {
    auto endings = mind.take_endings();
    for (auto& each : endings.requests) each.tell(std::move(each.with));
    for (auto& each : endings.questions) each.tell(std::move(each.with));
    return std::exchange(ended, {});
  }
  double figure(const std::string& name) const {
    for (const auto& each : mind.figures())
      if (each.name == name) return each.value;
    return -1;
  }

  time_point now = time_point{} + 1h;
  memory_link port;
  client_state mind;
  std::vector<outcome> ended;
};

error overloaded_for(milliseconds wait) {
  error why{errc::overloaded, "full"};
  why.retry_after = wait;
  return why;
}

TEST_CASE("requests go to the gateway that has the least in flight") {
  fixture f;
  f.gateway(1);
  f.gateway(2);
  for (int i = 0; i < 6; ++i) f.submit();
  CHECK(f.port.count<infer>(1) == 3);
  CHECK(f.port.count<infer>(2) == 3);
  for (int i = 0; i < 3; ++i) f.answer(1, f.taken(1).id);
  CHECK(f.told().size() == 3);
  f.submit();
  f.submit();
  CHECK(f.port.count<infer>(1) == 2);
}

TEST_CASE("what was in flight at a lost gateway is sent to another one, with the time that is left") {
  fixture f;
  f.gateway(1);
  const auto id = f.submit(5s);
  const auto first = f.taken(1);
  CHECK(first.id == id);
  CHECK(first.time_left == 5s);
  f.gateway(2);
  f.now += 2s;
  down(f.mind, 1, f.now);
  CHECK(f.told().empty());
  const auto second = f.taken(2);
  CHECK(second.id != id);
  CHECK(second.time_left == 3s);
  CHECK(second.inputs.at(0).data.data() == first.inputs.at(0).data.data());
  f.answer(2, second.id);
  const auto told = f.told();
  REQUIRE(told.size() == 1);
  CHECK(told[0].result);
  CHECK(told[0].id == id);
  CHECK(told[0].attempt == 1);
}

TEST_CASE("an answer is told once, whatever gateways say twice, too late, or of another's request") {
  fixture f;
  f.gateway(1);
  f.gateway(2);
  f.submit();
  const peer_id at = f.port.count<infer>(1) == 1 ? 1 : 2;
  const auto wire = f.taken(at).id;
  f.answer(3 - at, wire);
  CHECK(f.told().empty());
  f.answer(at, wire);
  f.answer(at, wire);
  f.answer(at, wire + 100);
  CHECK(f.told().size() == 1);
  CHECK(f.figure("client_unexpected") == 3);
}

TEST_CASE("an old refusal said twice is not taken for the answer to the second try") {
  fixture f;
  f.gateway(1);
  f.submit();
  const auto first = f.taken(1).id;
  f.refuse(1, first, overloaded_for(100ms));
  f.refuse(1, first, overloaded_for(100ms));
  f.pass(100ms);
  const auto second = f.taken(1).id;
  f.refuse(1, first, {errc::invalid_argument, "no"});
  CHECK(f.told().empty());
  f.answer(1, second);
  CHECK(f.told().size() == 1);
}

TEST_CASE("without a gateway a request waits for one, at most until its deadline") {
  fixture f;
  f.submit(1s);
  f.submit(3s);
  f.pass(999ms);
  CHECK(f.told().empty());
  f.pass(1ms);
  auto told = f.told();
  REQUIRE(told.size() == 1);
  CHECK(told[0].result.error().code == errc::deadline_exceeded);
  CHECK(told[0].result.error().retryable);
  CHECK(told[0].result.error().message.find("no gateway could be reached at ipc://a, ipc://b") == 0);
  f.gateway(1);
  CHECK(f.taken(1).time_left == 2s);
}

TEST_CASE("deadlines that cannot be added to a clock are cut, and those that are over end at once") {
  fixture f;
  f.gateway(1);
  f.submit(milliseconds::max());
  CHECK(f.taken(1).time_left > 24h);
  f.submit(milliseconds::min());
  f.pass(0ms);
  CHECK(f.told().at(0).result.error().code == errc::deadline_exceeded);
  CHECK(f.port.count<infer>(1) == 0);
}

TEST_CASE("a client that does not wait says at once that no gateway is there") {
  auto with = patient();
  with.waits = false;
  fixture f(with);
  f.submit();
  auto told = f.told();
  REQUIRE(told.size() == 1);
  CHECK(told[0].result.error().code == errc::unavailable);
  CHECK(told[0].result.error().retryable);
}

TEST_CASE("a gateway that never answers costs a request its deadline and no more; it is told") {
  auto with = patient();
  with.grace = 50ms;
  fixture f(with);
  f.gateway(1);
  f.submit(1s);
  const auto wire = f.taken(1).id;
  CHECK(f.mind.next() == f.now + 1050ms);
  f.pass(1050ms);
  auto told = f.told();
  REQUIRE(told.size() == 1);
  CHECK(told[0].result.error().code == errc::deadline_exceeded);
  CHECK_FALSE(told[0].result.error().retryable);
  const auto cancel = f.port.take<protocol::cancel>(1);
  REQUIRE(cancel);
  CHECK(cancel->key.id == wire);
  CHECK(f.port.settled.back() == std::pair<peer_id, request_id>(1, wire));
  f.answer(1, wire);
  CHECK(f.told().empty());
}

TEST_CASE("a frozen gateway's requests go on at another when it is taken for lost") {
  fixture f;
  f.gateway(1);
  f.submit(10s);
  f.gateway(2);
  f.pass(3s);
  down(f.mind, 1, f.now, {errc::unavailable, "nothing was heard of it for 3 heartbeats"});
  f.answer(2, f.taken(2).id);
  CHECK(f.told().at(0).result);
}

TEST_CASE("overloaded is tried again after the time it names, if the deadline allows it") {
  fixture f;
  f.gateway(1);
  f.submit(1s);
  f.refuse(1, f.taken(1).id, overloaded_for(400ms));
  CHECK(f.told().empty());
  CHECK(f.mind.next() == f.now + 400ms);
  f.pass(399ms);
  CHECK(f.port.count<infer>(1) == 0);
  f.pass(1ms);
  const auto again = f.taken(1);
  CHECK(again.time_left == 600ms);
  f.refuse(1, again.id, overloaded_for(600ms));
  const auto told = f.told();
  REQUIRE(told.size() == 1);
  CHECK(told[0].result.error().code == errc::overloaded);
  CHECK(told[0].result.error().retry_after == 600ms);
  CHECK(told[0].attempt == 1);
}

TEST_CASE("unavailable is tried at another gateway at once, and then with growing waits") {
  fixture f;
  f.gateway(1);
  f.submit(10s);
  f.gateway(2);
  f.refuse(1, f.taken(1).id, {errc::unavailable, "this gateway is shutting down"});
  f.refuse(2, f.taken(2).id, {errc::unavailable, "no scheduler"});
  CHECK(f.port.sent.empty());
  f.pass(99ms);
  CHECK(f.port.sent.empty());
  f.pass(1ms);
  f.refuse(1, f.taken(1).id, {errc::unavailable, "no scheduler"});
  f.pass(200ms);
  CHECK(f.port.count<infer>(2) == 1);
}

TEST_CASE("a gateway that serves nobody is asked last for a while, though it never has anything in flight") {
  fixture f;
  f.gateway(1);
  f.submit();
  f.gateway(2);
  f.refuse(1, f.taken(1).id, {errc::unavailable, "this gateway is shutting down"});
  for (int i = 0; i < 100; ++i) f.submit();
  CHECK(f.port.count<infer>(1) == 0);
  CHECK(f.port.count<infer>(2) == 101);
  CHECK(f.figure("client_retries") == 1);
  f.pass(1s);
  f.submit();
  CHECK(f.port.count<infer>(1) == 1);
}

TEST_CASE("what a retry cannot help is told as it is") {
  fixture f;
  f.gateway(1);
  for (const auto code : {errc::invalid_argument, errc::not_found, errc::poisoned, errc::deadline_exceeded}) {
    f.submit();
    f.refuse(1, f.taken(1).id, {code, "no"});
    const auto told = f.told();
    REQUIRE(told.size() == 1);
    CHECK(told[0].result.error().code == code);
  }
  CHECK(f.figure("client_retries") == 0);
}

TEST_CASE("retries stay within the budget: ten, and one for every four requests") {
  fixture f;
  f.gateway(1);
  int retried = 0;
  int failed = 0;
  for (int i = 0; i < 100; ++i) {
    f.submit(10s);
    f.refuse(1, f.taken(1).id, overloaded_for(1ms));
    failed += static_cast<int>(f.told().size());
    f.pass(1ms);
    while (auto body = f.port.take<infer>(1)) {
      ++retried;
      f.answer(1, body->id);
    }
    static_cast<void>(f.told());
  }
  CHECK(retried == 10 + 25);
  CHECK(failed == 100 - retried);
  CHECK(f.figure("client_retries_refused") == failed);
}

TEST_CASE("the reserve of the budget comes back with time") {
  retry_budget budget(0, 2, 100);
  const time_point start = time_point{} + 1h;
  CHECK(budget.take(start));
  CHECK(budget.take(start));
  CHECK_FALSE(budget.take(start));
  CHECK(budget.take(start + 1s));
  CHECK_FALSE(budget.take(start + 1s));
  CHECK(budget.take(start + 1h));
  CHECK(budget.take(start + 1h));
  CHECK_FALSE(budget.take(start + 1h));
}

TEST_CASE("what a budget saves up is bounded") {
  retry_budget budget(0.25, 10, 20);
  for (int i = 0; i < 1000; ++i) budget.earn();
  int taken = 0;
  while (budget.take(time_point{} + 1h)) ++taken;
  CHECK(taken == 20);
}

TEST_CASE("without credit requests wait in order and go as outcomes come") {
  fixture f;
  f.gateway(1);
  const auto first = f.submit();
  f.port.full.insert(1);
  const auto second = f.submit();
  const auto third = f.submit();
  CHECK(f.told().empty());
  f.port.full.clear();
  const auto fourth = f.submit();  // does not overtake
  CHECK(f.port.count<infer>(1) == 1);
  f.answer(1, first);
  CHECK(f.taken(1).id == first);
  CHECK(f.taken(1).id == second);
  CHECK(f.taken(1).id == third);
  CHECK(f.taken(1).id == fourth);
}

TEST_CASE("room that no outcome announces is looked for again and again") {
  fixture f;
  f.gateway(1);
  f.port.full.insert(1);
  f.submit();
  f.port.full.clear();
  REQUIRE(f.mind.next());
  f.now = *f.mind.next();
  f.mind.tick(f.now);
  CHECK(f.port.count<infer>(1) == 1);
}

TEST_CASE("a client that does not wait says at once that there is no room") {
  fixture f(client_policy{});
  f.gateway(1);
  f.port.full.insert(1);
  f.submit();
  CHECK(f.told().at(0).result.error().code == errc::overloaded);
}

TEST_CASE("a client that waits for room but not for a gateway does just that") {
  auto with = patient();
  with.waits = false;
  fixture f(with);
  f.gateway(1);
  f.port.full.insert(1);
  f.submit();
  f.submit();
  CHECK(f.told().empty());
  down(f.mind, 1, f.now);
  const auto told = f.told();
  REQUIRE(told.size() == 2);
  for (const auto& each : told) CHECK(each.result.error().code == errc::unavailable);
}

TEST_CASE("a request that is taken back has ended, wherever it was") {
  fixture f;
  const error why{errc::cancelled, "taken back"};
  f.mind.give_up(f.submit(), why);  // waits for a gateway
  f.gateway(1);
  CHECK(f.port.sent.empty());
  f.mind.give_up(f.submit(), why);  // in flight
  const auto wire = f.taken(1).id;
  CHECK(f.port.take<protocol::cancel>(1)->key.id == wire);
  const auto resting = f.submit();
  f.refuse(1, f.taken(1).id, overloaded_for(1s));
  f.mind.give_up(resting, why);
  f.pass(1s);
  CHECK(f.port.count<infer>(1) == 0);
  const auto told = f.told();
  REQUIRE(told.size() == 3);
  for (const auto& each : told) CHECK(each.result.error().code == errc::cancelled);
  f.mind.give_up(resting, why);
  CHECK(f.told().empty());
}

TEST_CASE("the deadline of a request that was tried again tells why") {
  fixture f;
  f.gateway(1);
  f.submit(1s);
  f.port.full.insert(1);
  f.refuse(1, f.taken(1).id, overloaded_for(100ms));
  f.pass(1s);
  const auto told = f.told();
  REQUIRE(told.size() == 1);
  CHECK(told[0].result.error().code == errc::deadline_exceeded);
  CHECK(told[0].result.error().message.find("at last: full") != std::string::npos);
}

TEST_CASE("questions wait for a gateway, are asked again at another, and end in time") {
  fixture f;
  std::vector<expected<message>> heard;
  const auto tell = [&](expected<message> with) { heard.push_back(std::move(with)); };
  f.mind.ask(describe{}, 5s, tell, f.now);
  f.gateway(1);
  CHECK(f.port.count<describe>(1) == 1);
  down(f.mind, 1, f.now);
  f.gateway(2);
  CHECK(f.port.count<describe>(2) == 1);
  f.mind.ask(describe{}, 1s, tell, f.now);
  f.mind.ask(inquire{}, 6s, tell, f.now);
  f.pass(1s);
  static_cast<void>(f.told());
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].error().code == errc::deadline_exceeded);
  // Answers come in the order of the questions, also to those that nobody waits for any more.
  deliver(f.mind, 2, catalogue{{model_spec{"a", 1}}}, f.now);
  deliver(f.mind, 2, catalogue{{model_spec{"b", 1}}}, f.now);
  deliver(f.mind, 2, catalogue{{model_spec{"news", 1}}}, f.now);
  deliver(f.mind, 2, report{}, f.now);
  static_cast<void>(f.told());
  REQUIRE(heard.size() == 3);
  CHECK(std::get<catalogue>(*heard[1]).models.at(0).name == "a");
}

TEST_CASE("a load whose gateway is lost is not repeated: what was done is not known") {
  fixture f;
  f.gateway(1);
  std::vector<expected<message>> heard;
  f.mind.ask(
      manage{{}, life_verb::load, "m"}, 5s, [&](expected<message> with) { heard.push_back(std::move(with)); }, f.now);
  CHECK(f.port.take<manage>(1)->time_left == 5s);
  f.gateway(2);
  down(f.mind, 1, f.now);
  static_cast<void>(f.told());
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].error().code == errc::unavailable);
  CHECK(f.port.count<manage>(2) == 0);
}

TEST_CASE("closing ends everything") {
  fixture f;
  f.submit();
  f.gateway(1);
  f.submit();
  bool heard = false;
  f.mind.ask(
      describe{}, 5s, [&](const expected<message>&) { heard = true; }, f.now);
  f.mind.close({errc::cancelled, "closed"});
  const auto told = f.told();
  CHECK(told.size() == 2);
  CHECK(heard);
}

}  // namespace
}  // namespace shoal::test
