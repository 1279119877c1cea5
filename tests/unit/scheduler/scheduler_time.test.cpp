// What the scheduler foretells and what it makes of it: refusals in time, batches formed late, places recalled.
#include <deque>

#include <doctest/doctest.h>

#include "scheduler/scheduler_state.hpp"
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
constexpr instance_id gateway_instance = 100;

using list = std::vector<request_id>;

struct memory_store final : scheduler::profile_store {
  explicit memory_store(const std::string& kept) : text(kept.empty() ? scheduler::profile_book().to_text() : kept) {}
  scheduler::profile_book load() override { return *scheduler::profile_book::from_text(text); }
  void save(const scheduler::profile_book& book) override { text = book.to_text(), ++saves; }
  std::string text;
  int saves = 0;
};

struct fixture {
  memory_link link;
  metrics figures;
  memory_store store;
  scheduler_state mind;
  time_point now{1h};
  offer_id next_offer = 1;
  request_id next_id = 1000;

  explicit fixture(scheduler_options options = {.fixed_share = 0}, const std::string& kept = {})
      : store(kept), mind(options, link, figures, &store) {
    up(mind, gateway, service_kind::gateway, gateway_instance, now);
  }
  void add_worker(peer_id peer = worker, std::vector<model_spec> models = {matrix_model()}) {
    up(mind, peer, service_kind::worker, peer, now);
    deliver(mind, peer, catalogue{std::move(models)}, now);
    for (int i = 0; i < 2; ++i) deliver(mind, peer, offer{next_offer++}, now);
  }
  void ask(request_id id, milliseconds time_left = 5s, priority as = priority::standard, std::int64_t width = 4) {
    auto request = matrix_request(id, 1, width);
    request.time_left = time_left;
    request.priority = as;
    deliver(mind, gateway, std::move(request), now);
  }
  list ids(const std::optional<batch>& message) {
    list found;
    if (message)
      for (const auto& member : message->members) found.push_back(member.key.id);
    return found;
  }
  void finish(const batch& message, milliseconds took, peer_id peer = worker) {
    completion over{message.id, {}, {}, took, static_cast<std::uint32_t>(message.members.size()), true, next_offer++};
    for (const auto& member : message.members) over.finished.push_back(member.key);
    deliver(mind, peer, over, now);
  }
  /// Batches of one request took so long, some times.
  void teach(milliseconds took, peer_id peer = worker) {
    for (int i = 0; i < 10; ++i) {
      ask(next_id++);
      const auto sent = link.take<batch>(peer);
      REQUIRE(sent);
      now += took;
      finish(*sent, took, peer);
    }
  }
  std::optional<error> refused(request_id id) {
    while (auto told = link.take<outcome>(gateway))
      if (told->id == id && !told->result) return told->result.error();
    return std::nullopt;
  }
  std::optional<batch> sent() { return link.take<batch>(worker); }
};

}  // namespace

TEST_CASE("what would not be done in time is refused at once, and told when to come again") {
  fixture f;
  f.add_worker();
  f.teach(100ms);
  f.ask(1, 1s);
  f.ask(2, 1s);
  f.ask(3, 150ms);  // the running one takes 100 ms, itself 100 ms
  const auto late = f.refused(3);
  REQUIRE(late);
  CHECK(late->code == errc::overloaded);
  CHECK(late->retryable);
  CHECK(late->retry_after >= 50ms);  // its deadline is the earliest: only what runs goes before it
  CHECK(late->retry_after <= 300ms);
  CHECK(late->message.find("the request has 150 ms") != std::string::npos);
  f.ask(4, 1s);
  CHECK_FALSE(f.refused(4));
}

TEST_CASE("who goes before others is not refused for their sake") {
  fixture f;
  f.add_worker();
  f.teach(100ms);
  for (request_id id = 1; id <= 5; ++id) f.ask(id, 2s, priority::batch);
  f.ask(10, 300ms);  // one runs, and none of the others goes first
  CHECK_FALSE(f.refused(10));
  f.ask(11, 280ms, priority::batch);
  CHECK(f.refused(11));
  f.ask(12, 320ms, priority::critical);
  CHECK_FALSE(f.refused(12));
  // Of one class, the earliest deadline goes first: those with later ones do not count.
  fixture g;
  g.add_worker();
  g.teach(100ms);
  for (request_id id = 1; id <= 5; ++id) g.ask(id, 3s);
  g.ask(10, 350ms);
  CHECK_FALSE(g.refused(10));
}

TEST_CASE("other models of the same workers count as well") {
  fixture f;
  auto second = matrix_model();
  second.name = "n";
  f.add_worker(worker, {matrix_model(), second});
  f.teach(100ms);
  auto other = matrix_request(1, 1, 4);
  other.model = "n";
  deliver(f.mind, gateway, other, f.now);  // runs; nothing is known of n
  const auto first = f.sent();
  f.now += 50ms;
  f.finish(*first, 50ms);
  for (request_id id = 2; id <= 8; ++id) {
    auto more = matrix_request(id, 1, 4);
    more.model = "n";
    deliver(f.mind, gateway, std::move(more), f.now);
  }
  f.ask(20, 200ms);
  CHECK(f.refused(20));
}

TEST_CASE("without a measurement, a worker, or anybody before it, a request is taken") {
  fixture f;
  f.ask(1, 1ms);
  CHECK(f.refused(1)->code == errc::not_found);
  f.add_worker();
  f.ask(2, 1ms);
  CHECK_FALSE(f.refused(2));
  f.finish(*f.sent(), 1ms);
  f.teach(100ms);
  // What was measured may be out of date: an idle worker tries.
  f.ask(3, 10ms);
  CHECK_FALSE(f.refused(3));
  CHECK(f.ids(f.sent()) == list{3});
}

TEST_CASE("prediction can be switched off") {
  fixture f({.predict = false});
  f.add_worker();
  f.teach(100ms);
  for (request_id id = 1; id <= 8; ++id) {
    f.ask(id, 50ms);
    CHECK_FALSE(f.refused(id));
  }
}

TEST_CASE("a batch is formed shortly before its worker is predicted to be free, with who is most urgent then") {
  fixture f;
  f.add_worker();
  f.teach(100ms);
  f.ask(1);
  CHECK(f.ids(f.sent()) == list{1});
  f.ask(2);
  CHECK_FALSE(f.sent());
  const auto wake = f.mind.next_wake();
  REQUIRE(wake);
  CHECK(*wake - f.now <= 98ms);
  f.now += 50ms;
  f.mind.on_wake(f.now);
  CHECK_FALSE(f.sent());
  f.ask(3, 5s, priority::critical);
  f.now += 49ms;
  f.mind.on_wake(f.now);
  CHECK(f.ids(f.sent()) == list{3, 2});
}

TEST_CASE("a batch that ends sooner than predicted, or later, keeps nobody waiting") {
  fixture f;
  f.add_worker();
  f.teach(100ms);
  f.ask(1);
  const auto first = f.sent();
  f.ask(2);
  f.now += 10ms;
  f.finish(*first, 10ms);
  const auto second = f.sent();
  CHECK(f.ids(second) == list{2});
  f.now += 500ms;  // overdue
  f.ask(3);
  CHECK(f.ids(f.sent()) == list{3});
}

TEST_CASE("a payload that its gateway holds is fetched while the batch before it runs") {
  fixture f;
  f.add_worker();
  f.teach(100ms);
  f.ask(1);
  CHECK(f.ids(f.sent()) == list{1});
  auto held = matrix_request(2, 1, 4);
  held.payload_held = true;
  held.inputs[0].data = {};
  deliver(f.mind, gateway, std::move(held), f.now);
  CHECK(f.ids(f.sent()) == list{2});
}

TEST_CASE("a critical request has the place of a staged batch, never of a running one") {
  fixture f;
  f.add_worker();
  f.ask(1);
  const auto running = f.sent();
  f.ask(2);  // nothing is known: staged at once
  const auto staged = f.sent();
  CHECK(f.ids(staged) == list{2});
  auto other = matrix_request(3, 1, 5);  // of another width: it cannot join
  other.priority = priority::critical;
  deliver(f.mind, gateway, other, f.now);
  const auto asked_back = f.link.take<recall>(worker);
  REQUIRE(asked_back);
  CHECK(asked_back->batch == staged->id);
  auto another = matrix_request(4, 1, 6);
  another.priority = priority::critical;
  deliver(f.mind, gateway, another, f.now);
  CHECK_FALSE(f.link.take<recall>(worker));  // asked back once
  SUBCASE("it had not started") {
    deliver(f.mind, worker, completion{staged->id, {}, {{gateway_instance, 2}}, 0us, 0, true, 50}, f.now);
    CHECK(f.ids(f.sent()) == list{3});
    f.finish(*running, 1ms);
    CHECK(f.ids(f.sent()) == list{4});
  }
  SUBCASE("it had") {
    f.finish(*running, 1ms);
    CHECK(f.ids(f.sent()) == list{3});
    f.finish(*staged, 1ms);
    CHECK(f.ids(f.sent()) == list{4});
  }
}

TEST_CASE("a worker of an older release is not asked to give back") {
  fixture f;
  link_event old = peer_up{worker, service_kind::worker, worker, 1, {}, 2};
  f.mind.on(old, f.now);
  deliver(f.mind, worker, catalogue{{matrix_model()}}, f.now);
  for (int i = 0; i < 2; ++i) deliver(f.mind, worker, offer{f.next_offer++}, f.now);
  f.ask(1);
  f.ask(2);
  f.ask(3, 5s, priority::critical, 5);
  CHECK_FALSE(f.link.take<recall>(worker));
}

TEST_CASE("what was recalled takes its own place again, and its deadline still ends it") {
  fixture f;
  f.add_worker();
  f.ask(1);
  CHECK(f.sent());
  f.ask(2, 1s);
  const auto staged = f.sent();
  f.ask(3, 5s, priority::critical, 5);
  f.ask(4, 10s);
  REQUIRE(f.link.take<recall>(worker));
  deliver(f.mind, worker, completion{staged->id, {}, {{gateway_instance, 2}}, 0us, 0, true, 50}, f.now);
  CHECK(f.ids(f.sent()) == list{3});
  CHECK(f.mind.queued() == 2);
  f.now += 2s;
  f.mind.on_wake(f.now);
  CHECK(f.mind.queued() == 1);
}

TEST_CASE("a batch is only as large as its tightest deadline allows") {
  fixture f;
  f.add_worker();
  // 10 ms and 10 ms a row.
  for (int round = 0; round < 10; ++round)
    for (const std::size_t rows : {1U, 2U, 4U, 8U}) {
      f.ask(f.next_id++, 5s);
      const auto first = f.sent();
      for (std::size_t i = 0; i < rows; ++i) f.ask(f.next_id++, 20s);
      f.now += 20ms;
      f.finish(*first, 20ms);
      while (const auto next = f.sent()) {
        const auto took = 10ms + 10ms * static_cast<int>(next->members.size());
        f.now += took;
        f.finish(*next, took);
      }
    }
  f.ask(1, 10s);
  const auto first = f.sent();
  for (request_id id = 2; id <= 9; ++id) f.ask(id, id == 2 ? 95ms : 10s);
  f.now += 19ms;
  f.mind.on_wake(f.now);
  const auto next = f.sent();
  REQUIRE(next);
  CHECK(f.ids(next).front() == 2);
  CHECK(next->members.size() >= 2);
  CHECK(next->members.size() <= 6);
}

TEST_CASE("measured times are kept, and known from the start the next time") {
  std::string kept;
  {
    fixture f;
    f.add_worker();
    f.teach(100ms);
    f.now += 31s;
    f.mind.on_wake(f.now);
    CHECK(f.store.saves == 1);
    kept = f.store.text;
  }
  fixture again({}, kept);
  again.add_worker();
  again.ask(1);
  again.ask(2);
  again.ask(3, 120ms);
  CHECK(again.refused(3));
}

TEST_CASE("who has waited longest keeps the place that is its turn, though critical requests wait") {
  fixture f;
  f.add_worker();
  std::deque<batch> at_worker;
  const auto is_old = [&] { return !at_worker.empty() && f.ids(at_worker.front()) == list{2}; };
  f.ask(1);
  f.ask(2, 60s, priority::batch, 9);  // it can be joined by none of the others
  request_id next = 100;
  int turns = 0;
  for (; turns < 60; ++turns) {
    for (int i = 0; i < 2; ++i) f.ask(next++, 60s, priority::critical, 5 + i);
    while (auto sent = f.sent()) at_worker.push_back(std::move(*sent));
    while (const auto back = f.link.take<recall>(worker)) {
      REQUIRE(at_worker.size() == 2);
      REQUIRE(back->batch == at_worker.back().id);
      completion given{back->batch, {}, {}, 0us, 0, true, f.next_offer++};
      for (const auto& member : at_worker.back().members) given.returned.push_back(member.key);
      at_worker.pop_back();
      deliver(f.mind, worker, given, f.now);
      while (auto sent = f.sent()) at_worker.push_back(std::move(*sent));
    }
    REQUIRE_FALSE(at_worker.empty());
    if (is_old()) break;
    const auto done = std::move(at_worker.front());
    at_worker.pop_front();
    f.now += 100ms;
    f.finish(done, 100ms);
    f.mind.on_wake(f.now);
  }
  CHECK(turns >= 5);
  CHECK(turns <= 30);  // a second of patience, and one batch in eight
}

TEST_CASE("a batch whose members ran one by one says nothing about the time of batches") {
  fixture f;
  f.add_worker();
  f.teach(100ms);
  for (int i = 0; i < 20; ++i) {
    f.ask(f.next_id++);
    const auto sent = f.sent();
    completion over{sent->id, {sent->members[0].key}, {}, 3000ms, 1, true, f.next_offer++};
    over.apart = true;
    f.now += 3s;
    deliver(f.mind, worker, over, f.now);
  }
  f.ask(1);
  f.ask(2, 500ms);
  CHECK_FALSE(f.refused(2));
}

TEST_CASE("deadlines that no clock can add up, or that are over, end as they should") {
  fixture f;
  f.add_worker();
  f.ask(1);
  CHECK(f.sent());
  auto endless = matrix_request(2, 1, 4);
  endless.time_left = microseconds::max();
  deliver(f.mind, gateway, endless, f.now);
  const auto staged = f.sent();
  REQUIRE(staged);
  CHECK(staged->members[0].request.time_left > 24h);
  for (const auto time_left : {0us, -1us, microseconds::min()}) {
    auto over = matrix_request(f.next_id++, 1, 7);
    over.time_left = time_left;
    deliver(f.mind, gateway, over, f.now);
  }
  CHECK(f.mind.queued() == 3);
  f.mind.on_wake(f.now);
  CHECK(f.mind.queued() == 0);
}

TEST_CASE("a clock that jumps ahead ends what waited and nothing else") {
  fixture f;
  f.add_worker();
  f.teach(100ms);
  f.ask(1);
  const auto running = f.sent();
  f.ask(2);
  f.now += 24h;
  f.mind.on_wake(f.now);
  f.ask(3);
  f.finish(*running, 100ms);
  // The pause was no batch's time: predictions are what they were.
  f.ask(4, 1s);
  CHECK_FALSE(f.refused(4));
  CHECK_FALSE(f.refused(3));
}

TEST_CASE("a worker that answers twice, or for a batch that is over, changes nothing") {
  fixture f;
  f.add_worker();
  f.ask(1);
  const auto first = f.sent();
  f.ask(2);
  const auto second = f.sent();
  f.finish(*first, 1ms);
  f.link.sent.clear();
  const auto settled = f.link.settled.size();
  completion twice{first->id, {{gateway_instance, 1}, {gateway_instance, 2}}, {}, 1ms, 1, true, 77};
  deliver(f.mind, worker, twice, f.now);
  CHECK(f.link.sent.empty());
  CHECK(f.link.settled.size() == settled);
  f.finish(*second, 1ms);
  CHECK(f.link.settled.size() == settled + 1);
  deliver(f.mind, worker, completion{999, {{gateway_instance, 2}}, {}, 1ms, 1, true, 78}, f.now);
  CHECK(f.link.settled.size() == settled + 1);
}

TEST_CASE("a worker cannot offer more places than it can have") {
  fixture f;
  f.add_worker();
  for (int i = 0; i < 10'000; ++i) deliver(f.mind, worker, offer{f.next_offer++}, f.now);
  for (request_id id = 1; id <= 200; ++id) f.ask(id, 5s, priority::standard, static_cast<std::int64_t>(id));
  CHECK(f.link.count<batch>(worker) <= 64);
}
