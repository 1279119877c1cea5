// Several schedulers share workers: who is given how much, and how soon, and what the mesh promises holds, whatever
// dies or breaks. Large worlds, a few seeds each; swarm.test.cpp has small ones, and thousands.
#include <doctest/doctest.h>

#include "core/rendezvous.hpp"
#include "unit/simulation/mesh.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

const std::vector<priority> all_classes{priority::critical, priority::standard, priority::batch};

/// The name of a model that this one of `schedulers` owns, as gateways see it.
std::string owned_by(std::size_t scheduler, std::size_t schedulers) {
  for (int i = 0;; ++i) {
    const auto name = "model" + std::to_string(i);
    std::size_t owner = 0;
    const auto weight = [&](std::size_t of) { return rendezvous_weight(name, (of + 1) * 1000 + 1); };
    for (std::size_t other = 1; other < schedulers; ++other)
      if (weight(other) > weight(owner)) owner = other;
    if (owner == scheduler) return name;
  }
}

/// A model for each scheduler, and what it is asked for of what all workers together can do.
world shared(std::size_t workers, const std::vector<double>& load,
             const std::vector<std::vector<priority>>& classes = {}, milliseconds time_left = 2000ms,
             std::size_t schedulers = 0) {
  constexpr double request_us = 300 / 4.0 + 20 * 34;  // at batches of four
  world of;
  of.clients = 0;
  of.schedulers = std::max(schedulers, load.size());
  of.workers = workers;
  of.models.clear();
  for (std::size_t m = 0; m < load.size(); ++m)
    of.models.push_back({owned_by(m, of.schedulers),
                         load[m] * static_cast<double>(workers) * 1e6 / request_us,
                         classes.empty() ? all_classes : classes[m],
                         1,
                         {1}});
  of.least_time = of.most_time = time_left;
  of.most_rows = 1;
  of.seconds = 2;
  of.credit_messages = 1'000'000;
  of.max_requests = 1'000'000;
  of.max_queue = 100'000;
  return of;
}

void keeps_its_promises(const verdict& found) {
  CHECK(found.broken == std::vector<std::string>{});
  CHECK(found.seen.asked > 1000);
  CHECK(found.seen.answered + found.seen.refused + found.seen.expired == found.seen.asked);
}

microseconds longest(const verdict& found, const world& of, std::size_t model, priority as) {
  return found.seen.longest.at(of.models[model].model).at(as);
}

std::size_t answered(const verdict& found, const world& of, std::size_t model) {
  return found.seen.answered_of.at(of.models[model].model);
}

}  // namespace

TEST_CASE("schedulers that share workers answer everybody once, and soon") {
  for (const std::uint64_t seed : {1, 2, 3}) {
    CAPTURE(seed);
    const auto of = shared(20, {0.4, 0.4});
    const auto found = simulate(of, seed);
    keeps_its_promises(found);
    CHECK(found.again == 0);
    CHECK(found.seen.answered == found.seen.asked);
    for (std::size_t model = 0; model < 2; ++model)
      for (const auto as : all_classes) CHECK(longest(found, of, model, as) < 200ms);
  }
}

TEST_CASE("a scheduler alone is given all places though others are there") {
  const auto found = simulate(shared(20, {0.9}, {}, 2000ms, 4), 4);
  keeps_its_promises(found);
  CHECK(found.seen.answered == found.seen.asked);
  CHECK(found.again == 0);
}

TEST_CASE("of two that ask for more than there is, each gets its share") {
  auto of = shared(8, {2, 2}, {{priority::standard}, {priority::standard}}, 300ms);
  of.seconds = 8;  // over a few seconds, who gets more is chance
  const auto found = simulate(of, 5);
  keeps_its_promises(found);
  CHECK(found.again == 0);
  const auto all = found.seen.answered;
  CHECK(answered(found, of, 0) * 10 > all * 4);
  CHECK(answered(found, of, 1) * 10 > all * 4);
  CHECK(found.seen.expired * 4 < all);
}

TEST_CASE("one that asks for more than there is does not keep another from what it needs") {
  const auto of = shared(8, {2, 0.2}, {{priority::standard}, {priority::standard}}, 500ms);
  const auto found = simulate(of, 6);
  keeps_its_promises(found);
  CHECK(answered(found, of, 1) > 500);
  CHECK(longest(found, of, 1, priority::standard) < 300ms);
}

TEST_CASE(
    "critical requests of one scheduler go before another's flood of the lowest class, which is served all the same") {
  const auto of = shared(8, {2, 0.3}, {{priority::batch}, {priority::critical}}, 500ms);
  const auto found = simulate(of, 7);
  keeps_its_promises(found);
  CHECK(longest(found, of, 1, priority::critical) < 100ms);
  CHECK(answered(found, of, 0) > answered(found, of, 1));
}

TEST_CASE(
    "workers and schedulers that die, connections that break: every request has an end, and almost all are answered") {
  for (const std::uint64_t seed : {11, 12, 13, 14, 15}) {
    CAPTURE(seed);
    auto of = shared(20, {0.3, 0.2, 0.1});
    of.breaks = 4;
    of.worker_deaths = 4;
    of.scheduler_deaths = 0.5;
    const auto found = simulate(of, seed);
    keeps_its_promises(found);
    CHECK(found.seen.answered * 100 > found.seen.asked * 98);
  }
}

TEST_CASE("many workers and schedulers") {
  auto of = shared(400, std::vector<double>(8, 0.1));
  of.seconds = 0.1;
  const auto found = simulate(of, 21);
  keeps_its_promises(found);
  CHECK(found.seen.answered == found.seen.asked);
  CHECK(found.again == 0);
}
