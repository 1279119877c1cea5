// Which scheduler a request is given to, and when it is given to another one.
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

TEST_CASE("a lost scheduler's requests go to another one, as another attempt") {
  fixture f;
  f.add_scheduler();
  f.add_scheduler(f.other_scheduler);
  f.ask(1);
  const auto first = f.link.count<infer>(f.scheduler) == 1 ? f.scheduler : f.other_scheduler;
  const auto second = first == f.scheduler ? f.other_scheduler : f.scheduler;
  const auto head = f.handed(first);
  down(f.mind, first, f.now);
  const auto again = f.handed(second);
  CHECK(again.id == head.id);
  CHECK(again.attempt == 1);
  CHECK(again.inputs.at(0).data.size() == 16);
  CHECK(f.figure("shoal_gateway_requests_handed_again_total") == 1);
  f.finish(head);  // the worker of the first attempt was faster
  CHECK(f.link.take<cancel>(second)->key.id == head.id);
  f.finish(again);
  CHECK(f.answer().result);
  CHECK(f.link.count<outcome>(f.client) == 0);
  CHECK(f.late() == 1);
}

TEST_CASE("one model's requests all go to one scheduler") {
  fixture f;
  f.add_scheduler();
  f.add_scheduler(f.other_scheduler);
  for (request_id id = 1; id <= 20; ++id) f.ask(id);
  const auto here = f.link.count<infer>(f.scheduler);
  CHECK((here == 0 || here == 20));
  CHECK(here + f.link.count<infer>(f.other_scheduler) == 20);
}

TEST_CASE("without a scheduler requests wait, new ones too, until one that knows the model comes") {
  fixture f;
  f.add_scheduler();
  f.ask(1);
  const auto head = f.handed();
  down(f.mind, f.scheduler, f.now);
  f.ask(2);
  CHECK(f.link.count<outcome>(f.client) == 0);

  // The scheduler comes back and has not met its workers yet: nothing it could do but refuse.
  f.add_scheduler(f.other_scheduler, {});
  CHECK(f.link.count<infer>(f.other_scheduler) == 0);
  f.ask(3);
  CHECK(f.link.count<outcome>(f.client) == 0);

  deliver(f.mind, f.other_scheduler, catalogue{{matrix_model()}}, f.now);
  CHECK(f.link.count<infer>(f.other_scheduler) == 3);
  std::map<request_id, std::uint32_t> attempts;
  while (const auto again = f.link.take<infer>(f.other_scheduler)) attempts[again->id] = again->attempt;
  CHECK(attempts.at(head.id) == 1);
  CHECK(attempts.size() == 3);
}

TEST_CASE("a scheduler that does worse than another one is set aside for a while") {
  gateway_options options;
  options.probe_interval = std::chrono::hours(1);
  fixture f(options);
  f.add_scheduler();
  f.add_scheduler(f.other_scheduler);
  f.ask(1);
  const bool is_first = f.link.count<infer>(f.scheduler) == 1;
  const auto owner = is_first ? f.scheduler : f.other_scheduler, other = is_first ? f.other_scheduler : f.scheduler;
  f.finish(f.handed(owner));
  request_id id = 1;
  const auto answered_after = [&](steady::duration time, microseconds queued = {}) {
    f.ask(++id);
    const auto head = f.handed(owner);
    f.wait(time);
    f.finish(head, queued);
  };
  const auto aside = [&] { return f.figure("shoal_gateway_schedulers_set_aside_total"); };
  const auto goes_to = [&](peer_id to) {
    f.ask(++id);
    const bool found = f.link.count<infer>(to) == 1;
    f.finish(f.handed(found ? to : to == owner ? other : owner));
    return found;
  };
  const auto goes_unanswered = [&](milliseconds within = 2s) {
    auto request = matrix_request(++id);
    request.time_left = within;
    f.ask(f.client, std::move(request));
    const bool given = f.link.take<infer>(owner).has_value();
    f.wait(within);
    return given;
  };
  const auto is_usually = [&](steady::duration way) {
    for (int i = 0; i < 200; ++i) answered_after(way);
  };
  SUBCASE("when the way of its requests is longer than it was") {
    is_usually(10ms);
    for (int i = 0; i < 20 && aside() == 0; ++i) answered_after(400ms);
    CHECK(aside() == 1);
    CHECK(goes_to(other));
    f.wait(5s);
    CHECK(goes_to(owner));
    // The second time it is for longer.
    for (int i = 0; i < 20 && aside() == 1; ++i) answered_after(400ms);
    CHECK(aside() == 2);
    f.wait(6s);
    CHECK(goes_to(other));
    f.wait(4s);
    CHECK(goes_to(owner));
  }
  SUBCASE("but it is given something again if the other one does worse meanwhile") {
    is_usually(10ms);
    for (int times = 1; times <= 3; ++times) {  // for 5, 10 and 20 s
      for (int i = 0; i < 20 && aside() < times; ++i) answered_after(400ms);
      CHECK(aside() == times);
      if (times < 3) f.wait(5s * times);
    }
    const auto other_answers_after = [&](steady::duration time) {
      f.ask(++id);
      const auto head = f.handed(other);
      f.wait(time);
      f.finish(head);
    };
    for (int i = 0; i < 200; ++i) other_answers_after(10ms);
    for (int i = 0; i < 5; ++i) other_answers_after(400ms);
    CHECK(aside() == 3);  // 5 s had to pass
    f.wait(2s);
    for (int i = 0; i < 20 && aside() == 3; ++i) other_answers_after(400ms);
    CHECK(aside() == 4);
    CHECK(goes_to(owner));
  }
  SUBCASE("also when its connection is lost meanwhile and it comes back") {
    is_usually(10ms);
    for (int i = 0; i < 20 && aside() == 0; ++i) answered_after(400ms);
    CHECK(aside() == 1);
    down(f.mind, owner, f.now);
    f.wait(1s);
    f.add_scheduler(owner);
    CHECK(goes_to(other));
    f.wait(4s);
    CHECK(goes_to(owner));
  }
  SUBCASE("not while a worker comes or goes, whose requests take longer") {
    is_usually(10ms);
    down(f.mind, f.worker, f.now);
    up(f.mind, f.worker, service_kind::worker, f.worker, f.now);
    for (int i = 0; i < 7; ++i) answered_after(400ms);
    CHECK(aside() == 0);
    for (int i = 0; i < 20 && aside() == 0; ++i) answered_after(400ms);
    CHECK(aside() == 1);
  }
  SUBCASE("and what it has then goes to the other, but not what an earlier attempt answers meanwhile") {
    is_usually(10ms);
    for (int i = 0; i < 3; ++i) f.ask(++id);
    std::vector<infer> late;
    while (auto head = f.link.take<infer>(owner)) late.push_back(std::move(*head));
    REQUIRE(late.size() == 3);
    for (int i = 0; i < 20 && aside() == 0; ++i) answered_after(100ms * (i + 1));
    CHECK(aside() == 1);
    CHECK(f.link.count<cancel>(owner) == 3);
    std::vector<infer> again;
    for (int i = 0; i < 3; ++i) again.push_back(f.handed(other));
    CHECK(again.front().attempt == 1);
    while (f.link.take<outcome>(f.client)) {
    }
    f.fail_with(late[0], {errc::overloaded, "too late"}, owner);  // both had been on their way
    f.finish(late[0]);
    for (int i = 1; i < 3; ++i) f.finish(again[static_cast<std::size_t>(i)]);
    for (int i = 0; i < 3; ++i) CHECK(f.answer().result);
  }
  SUBCASE("not when it always was that long, and nobody knows how long the other one's is") {
    is_usually(400ms);
    CHECK(aside() == 0);
  }
  SUBCASE("not when its requests wait in its queue, which is load") {
    for (int i = 0; i < 20; ++i) answered_after(400ms, 390ms);
    CHECK(aside() == 0);
  }
  SUBCASE("when it answers nothing any more, and what it has goes to the other") {
    for (int i = 0; i < 40; ++i) answered_after(10ms);
    for (int i = 0; i < 8; ++i) f.ask(++id);
    while (f.link.take<infer>(owner)) {
    }
    SUBCASE("") {
      f.wait(490ms);
      CHECK(aside() == 0);
      f.wait(20ms);
      CHECK(aside() == 1);
      CHECK(f.link.count<cancel>(owner) == 8);
      for (int i = 0; i < 8; ++i) {
        const auto again = f.handed(other);
        CHECK(again.attempt == 1);
        f.finish(again);
        CHECK(f.answer().result);
      }
    }
    SUBCASE("but not while a worker comes or goes") {
      f.wait(490ms);
      down(f.mind, f.worker, f.now);
      f.wait(3400ms);  // what the worker ran may wait until another is there
      CHECK(aside() == 0);
      f.wait(100ms);
      CHECK(aside() == 1);
    }
    SUBCASE("but not if there is no other") {
      down(f.mind, other, f.now);
      f.wait(1500ms);
      CHECK(aside() == 0);
    }
  }
  SUBCASE("not when its answers always took that long") {
    for (int i = 0; i < 40; ++i) answered_after(i % 2 == 0 ? 10ms : 900ms, i % 2 == 0 ? 0ms : 890ms);
    for (int i = 0; i < 8; ++i) f.ask(++id);
    f.wait(1750ms);
    CHECK(aside() == 0);
    f.wait(100ms);
    CHECK(aside() == 1);
  }
  SUBCASE("when large requests, whose way is not measured, are answered no more") {
    const auto ask = [&] { f.ask(f.client, matrix_request(++id, 1024, 32)); };
    for (int i = 0; i < 40; ++i) {
      ask();
      f.wait(10ms);
      f.finish(f.handed(owner));
    }
    for (int i = 0; i < 8; ++i) ask();
    f.wait(510ms);
    CHECK(aside() == 1);
  }
  SUBCASE("when a few requests in a row have no answer by their deadlines, however few are there") {
    for (int i = 0; i < 3; ++i) {
      CHECK(aside() == 0);
      CHECK(goes_unanswered());
    }
    CHECK(aside() == 1);
    CHECK(goes_to(other));
  }
  SUBCASE("but not if one of them has, or they had hardly any time") {
    for (int i = 0; i < 6; ++i) {
      CHECK(goes_unanswered());
      if (i % 2 == 1) answered_after(10ms);
    }
    for (int i = 0; i < 6; ++i) CHECK(goes_unanswered(100ms));
    CHECK(aside() == 0);
  }
  SUBCASE("not when a few requests just take long") {
    for (int i = 0; i < 40; ++i) answered_after(10ms);
    for (int i = 0; i < 7; ++i) f.ask(++id);
    f.wait(4s);
    CHECK(aside() == 0);
  }
  SUBCASE("even if answers waited long in its queue, but went on coming") {
    std::vector<infer> under_way;
    const auto ask = [&] {
      f.ask(++id);
      under_way.push_back(f.handed(owner));
    };
    for (int i = 0; i < 10; ++i) ask();
    for (int i = 0; i < 50; ++i) {
      f.wait(100ms);
      f.finish(under_way.front(), 990ms);
      under_way.erase(under_way.begin());
      ask();
    }
    CHECK(aside() == 0);
    f.wait(490ms);
    CHECK(aside() == 0);
    f.wait(20ms);
    CHECK(aside() == 1);
  }
}

TEST_CASE("a scheduler whose workers are ready is preferred to one that only knows the model") {
  fixture f;
  auto loading = matrix_model();
  loading.state = model_state::loading;
  for (const auto ready : {f.scheduler, f.other_scheduler}) {
    const auto not_ready = ready == f.scheduler ? f.other_scheduler : f.scheduler;
    f.add_scheduler(not_ready, {loading});
    f.add_scheduler(ready, {matrix_model()});
    f.ask(100 + ready);
    CHECK(f.link.count<infer>(ready) == 1);
    CHECK(f.link.count<infer>(not_ready) == 0);
    f.finish(f.handed(ready));
  }
}

TEST_CASE("a request handed to a scheduler that is just being lost waits for the next one") {
  fixture f;
  f.add_scheduler();
  f.link.gone.insert(f.scheduler);
  f.ask(1);
  CHECK(f.link.count<outcome>(f.client) == 0);
  down(f.mind, f.scheduler, f.now);
  f.add_scheduler(f.other_scheduler);
  CHECK(f.handed(f.other_scheduler).attempt == 1);
}

TEST_CASE("waiting requests end by their deadline") {
  fixture f;
  f.add_scheduler();
  down(f.mind, f.scheduler, f.now);
  f.ask(1);
  f.wait(5s);
  CHECK(f.refusal().code == errc::deadline_exceeded);
  CHECK(f.link.sent.empty());  // nobody else to tell
}
