#include "scheduler/fleet.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::scheduler;
using namespace std::chrono_literals;

namespace {

struct fixture {
  fleet workers;
  pool serving;
  latency_profile cpu, gpu;
  time_point now{1h};

  worker& add(protocol::peer_id peer, const std::string& device = "cpu", std::size_t offers = 2) {
    auto& added = workers.add({peer, protocol::service_kind::worker, peer, 1, {"device=" + device}});
    for (std::size_t i = 0; i < offers; ++i) added.offers.push_back(i + 1);
    workers.place(added, {{&serving, device == "gpu" ? &gpu : &cpu}}, now);
    return added;
  }
  void run(worker& on, protocol::batch_id batch, milliseconds time) {
    on.offers.pop_back();
    on.batches.push_back(batch);
    on.free_at = now + time;
    workers.was_given_work(on);
    workers.update(on);
  }
  void end(worker& on, protocol::batch_id batch) {
    on.forget(batch);
    on.offers.push_back(9);
    workers.update(on);
  }
  protocol::peer_id soonest(batch_size one = {1, 8}) {
    const auto found = serving.soonest(one, now);
    return found ? found->worker->peer : 0;
  }
};

}  // namespace

TEST_CASE(
    "an idle worker before a busy one, of idle ones the one that is warm, of busy ones the one that is free first") {
  fixture f;
  CHECK(f.soonest() == 0);
  auto& a = f.add(1);
  auto& b = f.add(2);
  f.run(a, 1, 50ms);
  CHECK(f.soonest() == 2);
  f.run(b, 2, 20ms);
  CHECK(f.soonest() == 2);
  CHECK_FALSE(f.serving.has_idle({}));
  CHECK(f.serving.backlog(f.now) == 70ms);
  CHECK(f.serving.backlog(f.now + 10ms) == 50ms);
  f.end(a, 1);
  f.end(b, 2);
  CHECK(f.soonest() == 2);
  CHECK(f.serving.backlog(f.now) == 0us);
}

TEST_CASE("a fast device that is busy is waited for if it is done sooner all the same") {
  fixture f;
  f.cpu.learn({1, 8}, 100ms);
  f.gpu.learn({1, 8}, 1ms);
  f.add(1, "cpu");
  auto& gpu = f.add(2, "gpu");
  f.run(gpu, 1, 20ms);
  CHECK(f.soonest() == 2);
  gpu.free_at = f.now + 200ms;
  f.workers.update(gpu);
  CHECK(f.soonest() == 1);
}

TEST_CASE("one worker that hangs does not hide what the others have to do") {
  fixture f;
  auto& a = f.add(1);
  auto& b = f.add(2);
  f.run(a, 1, 50ms);
  f.now += 60s;
  f.run(b, 2, 10s);
  f.workers.mark_overdue(f.now);
  CHECK(f.serving.backlog(f.now) == 10s);
}

TEST_CASE("capacity is the part of its workers' time that a scheduler gets when it wants it, of late") {
  fixture f;
  auto& shared = f.add(1);
  f.add(2);
  CHECK(f.serving.capacity(f.now) == 2);  // nothing is known of others
  for (int i = 0; i < 100; ++i) f.workers.note_share(shared, 10ms, 40ms, f.now += 40ms);
  CHECK(f.serving.capacity(f.now) == doctest::Approx(0.5).epsilon(0.2));
  for (int i = 0; i < 100; ++i) f.workers.note_share(shared, 36ms, 40ms, f.now += 40ms);
  CHECK(f.serving.capacity(f.now) == doctest::Approx(1.8).epsilon(0.05));
  f.workers.note_share(shared, 100ms, 400ms, f.now);
  CHECK(f.serving.capacity(f.now) < 1.6);
  f.now += 10s;
  CHECK(f.serving.capacity(f.now) == doctest::Approx(2).epsilon(0.01));
  f.workers.note_share(shared, 10ms, 5s, f.now);  // a process that stood still
  for (int i = 0; i < 10; ++i) f.workers.note_share(shared, 40ms, 40ms, f.now += 40ms);
  CHECK(f.serving.capacity(f.now) > 1.6);
}

TEST_CASE("a worker that is lost is expected back for as long as others needed, and not counted twice when it is") {
  fixture f;
  for (protocol::peer_id peer = 1; peer <= 4; ++peer) f.add(peer);
  CHECK(f.serving.expected_back(f.now) == 0);
  f.workers.remove(1, f.now);
  f.workers.remove(2, f.now);
  CHECK(f.serving.expected_back(f.now) == 2);
  CHECK(f.serving.expected_back(f.now + 2900ms) == 2);
  CHECK(f.serving.expected_back(f.now + 3s) == 0);
  // Those that are left may be doubled, not more: none of this is known for sure.
  f.workers.remove(3, f.now);
  CHECK(f.serving.expected_back(f.now) == 1);
  for (protocol::peer_id peer = 11; peer <= 13; ++peer) f.add(peer);
  CHECK(f.serving.expected_back(f.now) == 0);
  CHECK(f.serving.workers() == 4);

  // Half a second each time: soon no more than that is waited for.
  for (protocol::peer_id peer = 20; peer < 60; ++peer) {
    f.workers.remove(peer == 20 ? 13 : peer - 1, f.now);
    f.now += 500ms;
    f.add(peer);
  }
  f.workers.remove(59, f.now);
  CHECK(f.serving.expected_back(f.now + 450ms) == 1);
  CHECK(f.serving.expected_back(f.now + 650ms) == 0);
}

TEST_CASE("of the workers that may have more places, one is asked that would be free first") {
  fixture f;
  f.add(1);
  CHECK(f.serving.to_ask(2) == nullptr);
  auto& busy = f.add(2, "cpu", 1);
  busy.others_until = f.now + 1s;
  f.workers.update(busy);
  auto& soon = f.add(3, "cpu", 0);
  soon.others_until = f.now + 10ms;
  f.workers.update(soon);
  CHECK(f.serving.to_ask(2) == &soon);
  soon.asked = 2;
  CHECK(f.serving.to_ask(2) == &busy);
  busy.asked = 2;
  CHECK(f.serving.to_ask(2) == nullptr);
  CHECK(f.serving.to_ask(1) == &soon);
  f.workers.remove(3, f.now);
  CHECK(f.serving.to_ask(1) == &busy);
}

TEST_CASE("a worker without an offer has no room, and one that is removed leaves nothing behind") {
  fixture f;
  auto& a = f.add(1, "cpu", 1);
  f.run(a, 1, 50ms);
  CHECK(f.soonest() == 0);
  CHECK(f.serving.workers() == 1);
  CHECK(f.workers.remove(1, f.now));
  CHECK(f.serving.workers() == 0);
  CHECK(f.serving.backlog(f.now) == 0us);
  CHECK(f.serving.usual_profile() == nullptr);
  CHECK_FALSE(f.workers.remove(1, f.now));
}

TEST_CASE("a worker whose batches fail is ejected, tried with one batch, and back when that is good") {
  fixture f;
  auto& bad = f.add(1);
  f.add(2);
  for (int i = 0; i < 4; ++i) CHECK_FALSE(f.workers.judge(bad, std::nullopt, true, f.now));
  CHECK(f.workers.judge(bad, std::nullopt, true, f.now));
  CHECK(f.serving.workers() == 1);
  CHECK(f.soonest() == 2);
  CHECK(f.workers.next_readmission() == f.now + 5s);
  CHECK(f.workers.readmit(f.now + 4s).empty());
  f.now += 5s;
  CHECK(f.workers.readmit(f.now) == std::vector<protocol::peer_id>{1});
  CHECK(f.serving.workers() == 2);
  f.run(bad, 1, 50ms);
  CHECK(f.soonest() == 2);  // half open: no second batch
  SUBCASE("good") {
    f.workers.judge(bad, 1.0, false, f.now);
    f.end(bad, 1);
    f.run(bad, 2, 10ms);
    f.run(*f.workers.find(2), 3, 50ms);
    CHECK(f.soonest() == 1);
  }
  SUBCASE("bad again: out at once, for twice as long") {
    CHECK(f.workers.judge(bad, std::nullopt, true, f.now));
    CHECK(f.workers.next_readmission() == f.now + 10s);
  }
}

TEST_CASE("a worker much slower than the others is ejected; the only one, or half of them, never") {
  fixture f;
  auto& a = f.add(1);
  for (int i = 0; i < 50; ++i) CHECK_FALSE(f.workers.judge(a, 10.0, true, f.now));
  fixture g;
  std::vector<worker*> all;
  for (protocol::peer_id peer = 1; peer <= 4; ++peer) all.push_back(&g.add(peer));
  int ejected = 0;
  for (int round = 0; round < 100; ++round)
    for (std::size_t w = 0; w < 4; ++w)  // the first three are six times slower than the last
      ejected += g.workers.judge(*all[w], w < 3 ? 6.0 : 1.0, w < 3, g.now);
  CHECK(ejected == 2);
  CHECK(g.serving.workers() == 2);

  fixture h;
  auto& slow = h.add(1);
  auto& one = h.add(2);
  auto& other = h.add(3);
  bool out = false;
  for (int round = 0; round < 100 && !out; ++round) {
    h.workers.judge(one, 0.6, false, h.now);
    h.workers.judge(other, 0.6, false, h.now);
    out = h.workers.judge(slow, 2.4, false, h.now);
  }
  CHECK(out);
  h.now += 5s;
  h.workers.readmit(h.now);
  CHECK_FALSE(h.workers.judge(slow, 0.6, false, h.now));  // it has recovered: its past does not count
}
