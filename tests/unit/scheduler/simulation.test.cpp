// The scheduler's promises among hundreds of workers that die, come back and answer twice, under a virtual clock. A run
// is replayed by its seed.
#include <doctest/doctest.h>

#include <map>

#include "scheduler/scheduler_state.hpp"
#include "unit/scheduler/simulated_workers.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace std::chrono_literals;

namespace {

constexpr peer_id gateway = 1;
constexpr peer_id first_worker = 10;

struct world {
  std::size_t workers = 200;
  double load = 0.8;     ///< of what they can do
  double deaths = 0;     ///< a second and worker
  double doubles = 0;    ///< part of the completions that come twice
  double cancelled = 0;  ///< part of the requests that are taken back at once
  std::size_t requests = 20'000;
  microseconds time_left = 2s;
};

struct history {
  std::size_t ended = 0, answered = 0, refused = 0, expired = 0, cancelled = 0;
  std::map<priority, microseconds> longest;  ///< from arrival to answer, by class
  std::size_t overcommitted = 0, left = 0;
  std::uint64_t print = 0;  ///< of all that happened, in order
};

history run(const world& of, std::uint64_t seed) {
  test::simulated_workers link(seed);
  metrics figures;
  scheduler::scheduler_options options;
  options.max_queue = 100'000;
  scheduler::scheduler_state mind(options, link, figures);
  std::mt19937_64 random(seed);
  const auto chance = [&](double p) { return std::uniform_real_distribution(0.0, 1.0)(random) < p; };

  struct open_request {
    priority as;
    time_point arrived, deadline;
  };
  std::map<request_id, open_request> open;
  history seen;
  const auto note = [&](std::uint64_t what, request_id id) {
    for (const auto value : {what, id, static_cast<std::uint64_t>(link.now.time_since_epoch().count())})
      seen.print = (seen.print ^ value) * 0x100000001b3;  // FNV-1a
  };
  const auto end = [&](request_id id, std::size_t& as, std::uint64_t what) {
    if (open.erase(id) == 0) return;  // what is told a second time is no second outcome
    ++as;
    ++seen.ended;
    note(what, id);
  };
  link.on_refusal = [&](const outcome& told) { end(told.id, seen.refused, 1); };

  peer_id next_peer = first_worker;
  offer_id next_offer = 1;
  std::vector<peer_id> alive;
  const auto tell = [&](link_event event) { mind.on(event, link.now); };
  const auto add = [&] {
    const auto peer = next_peer++;
    tell(peer_up{peer, service_kind::worker, peer, 1, {"device=cpu"}});
    tell(delivery{peer, catalogue{{test::sentence_model()}}});
    alive.push_back(peer);
    for (int i = 0; i < 2; ++i) tell(delivery{peer, offer{next_offer++}});
  };
  tell(peer_up{gateway, service_kind::gateway, 7, 1, {}});
  for (std::size_t w = 0; w < of.workers; ++w) add();

  const double rate = of.load * static_cast<double>(of.workers) * 1e6 / (300 / 4.0 + 20 * 34);
  std::exponential_distribution<double> gap(rate), death(std::max(of.deaths, 1e-9) * static_cast<double>(of.workers));
  const auto after = [](double seconds) {
    return std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(seconds));
  };
  std::uniform_int_distribution<std::int64_t> length(4, 64);
  auto arrives = link.now, dies = link.now + after(death(random));
  request_id asked = 0;
  while (asked < of.requests || !open.empty()) {
    auto next = time_point::max();
    if (asked < of.requests) next = arrives;
    if (const auto completes = link.next()) next = std::min(next, *completes);
    if (const auto wake = mind.next_wake()) next = std::min(next, std::max(*wake, link.now));
    if (of.deaths > 0 && asked < of.requests) next = std::min(next, dies);
    if (next == time_point::max()) break;
    link.now = std::max(link.now, next);
    if (const auto wake = mind.next_wake(); wake && *wake <= link.now) mind.on_wake(link.now);
    if (asked < of.requests && arrives <= link.now) {
      infer request;
      request.id = ++asked;
      request.time_left = of.time_left;
      request.model = "sentences";
      request.version = 1;
      request.priority = static_cast<priority>(random() % 3);
      const auto tokens = length(random);
      request.inputs = {{"tokens", dtype::int64, {1, tokens}, {}}};
      open[asked] = {request.priority, link.now, link.now + of.time_left};
      tell(delivery{gateway, std::move(request)});
      if (chance(of.cancelled)) {
        tell(delivery{gateway, cancel{{7, asked}}});
        end(asked, seen.cancelled, 2);
      }
      arrives += after(gap(random));
    } else if (const auto completes = link.next(); completes && *completes <= link.now) {
      if (auto done = link.pop()) {
        for (const auto& key : done->told.finished)
          if (const auto at = open.find(key.id); at != open.end()) {
            auto& longest = seen.longest[at->second.as];
            longest = std::max(longest, std::chrono::duration_cast<microseconds>(link.now - at->second.arrived));
            end(key.id, seen.answered, 3);
          }
        const auto again = done->told;
        tell(delivery{done->worker, std::move(done->told)});
        if (chance(of.doubles)) tell(delivery{done->worker, again});
      }
    } else if (of.deaths > 0 && dies <= link.now) {
      const auto which = random() % alive.size();
      const auto peer = std::exchange(alive[which], alive.back());
      alive.pop_back();
      link.kill(peer);
      tell(peer_down{peer, {errc::unavailable, "killed"}});
      add();
      dies += after(death(random));
    }
    // The gateway's own timer.
    for (auto at = open.begin(); at != open.end() && at->second.deadline <= link.now;) {
      const auto id = (at++)->first;
      end(id, seen.expired, 4);
      tell(delivery{gateway, cancel{{7, id}}});
    }
  }
  seen.overcommitted = link.overcommitted;
  seen.left = mind.queued();
  return seen;
}

void keeps_its_promises(const history& seen, const world& of) {
  CHECK(seen.ended == of.requests);  // each once: `end` counts no second one
  CHECK(seen.answered + seen.refused + seen.expired + seen.cancelled == of.requests);
  CHECK(seen.overcommitted == 0);
  CHECK(seen.left == 0);
}

}  // namespace

TEST_CASE("within capacity everybody is answered, none late, and no class starves") {
  for (const std::uint64_t seed : {1, 2, 3}) {
    CAPTURE(seed);
    const world of;
    const auto seen = run(of, seed);
    keeps_its_promises(seen, of);
    CHECK(seen.answered == of.requests);
    for (const auto as : {priority::critical, priority::standard, priority::batch}) CHECK(seen.longest.at(as) < 200ms);
  }
}

TEST_CASE("workers that die, come back and answer twice, clients that take back: each request has one end") {
  for (const std::uint64_t seed : {11, 12, 13, 14}) {
    CAPTURE(seed);
    const world of{.deaths = 2, .doubles = 0.1, .cancelled = 0.05};
    const auto seen = run(of, seed);
    keeps_its_promises(seen, of);
    CHECK(seen.answered > of.requests * 9 / 10);
    CHECK(seen.expired == 0);
  }
}

TEST_CASE("twice as much as can be done: what is too much is refused at once, and hardly anything is late") {
  const world of{.workers = 4, .load = 2, .requests = 80'000, .time_left = 250ms};
  const auto seen = run(of, 21);
  keeps_its_promises(seen, of);
  CHECK(seen.refused > of.requests / 4);
  CHECK(seen.expired < of.requests / 20);
  CHECK(seen.answered > of.requests * 2 / 5);
}

TEST_CASE("a run is the same again by its seed") {
  const world of{.workers = 50, .deaths = 2, .doubles = 0.1, .cancelled = 0.05, .requests = 5000};
  CHECK(run(of, 31).print == run(of, 31).print);
  CHECK(run(of, 31).print != run(of, 32).print);
}
