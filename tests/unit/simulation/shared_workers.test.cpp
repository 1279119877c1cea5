// Several schedulers share workers: what the mesh promises holds, whatever dies or breaks. A run is replayed by its
// seed.
#include <doctest/doctest.h>

#include "unit/simulation/simulated_mesh.hpp"

using namespace shoal;
using namespace shoal::protocol;
using namespace shoal::test;
using namespace std::chrono_literals;

namespace {

void keeps_its_promises(const simulated_history& seen) {
  CHECK(seen.asked > 1000);
  CHECK(seen.unheard == 0);
  CHECK(seen.answered + seen.refused + seen.expired == seen.asked);
  CHECK(seen.wrong_ends == 0);
  CHECK(seen.overlapping == 0);
}

}  // namespace

TEST_CASE("schedulers that share workers answer everybody once, and soon") {
  for (const std::uint64_t seed : {1, 2, 3}) {
    CAPTURE(seed);
    const auto seen = simulate({}, seed);
    keeps_its_promises(seen);
    CHECK(seen.again == 0);
    CHECK(seen.answered == seen.asked);
    for (const auto& of_model : seen.longest)
      for (const auto& [as, longest] : of_model) CHECK(longest < 200ms);
  }
}

TEST_CASE("a scheduler alone is given all places though others are there") {
  const auto seen = simulate({.schedulers = 4, .load = {0.9, 0, 0, 0}}, 4);
  keeps_its_promises(seen);
  CHECK(seen.answered == seen.asked);
  CHECK(seen.again == 0);
}

TEST_CASE("of two that ask for more than there is, each gets its share") {
  const auto seen = simulate(
      {.workers = 8, .load = {2, 2}, .classes = {{priority::standard}, {priority::standard}}, .time_left = 300ms}, 5);
  keeps_its_promises(seen);
  CHECK(seen.again == 0);
  const auto all = seen.answered_of[0] + seen.answered_of[1];
  CHECK(seen.answered_of[0] * 10 > all * 4);
  CHECK(seen.answered_of[1] * 10 > all * 4);
  CHECK(seen.expired * 4 < seen.answered);
}

TEST_CASE("one that asks for more than there is does not keep another from what it needs") {
  const auto seen = simulate(
      {.workers = 8, .load = {2, 0.2}, .classes = {{priority::standard}, {priority::standard}}, .time_left = 500ms}, 6);
  keeps_its_promises(seen);
  CHECK(seen.answered_of[1] > 500);
  CHECK(seen.longest[1].at(priority::standard) < 300ms);
}

TEST_CASE(
    "critical requests of one scheduler go before another's flood of the lowest class, which is served all the same") {
  const auto seen = simulate(
      {.workers = 8, .load = {2, 0.3}, .classes = {{priority::batch}, {priority::critical}}, .time_left = 500ms}, 7);
  keeps_its_promises(seen);
  CHECK(seen.longest[1].at(priority::critical) < 100ms);
  CHECK(seen.answered_of[0] > seen.answered_of[1]);
}

TEST_CASE(
    "workers and schedulers that die, connections that break: every request has an end, and almost all are answered") {
  for (const std::uint64_t seed : {11, 12, 13, 14, 15}) {
    CAPTURE(seed);
    const auto seen = simulate(
        {.schedulers = 3, .load = {0.3, 0.2, 0.1}, .breaks = 4, .worker_deaths = 4, .scheduler_deaths = 0.5}, seed);
    keeps_its_promises(seen);
    CHECK(seen.answered * 100 > seen.asked * 98);
  }
}

TEST_CASE("many workers and schedulers") {
  const auto seen =
      simulate({.schedulers = 8, .workers = 1000, .load = std::vector<double>(8, 0.1), .seconds = 0.3}, 21);
  keeps_its_promises(seen);
  CHECK(seen.answered == seen.asked);
  CHECK(seen.again == 0);
}

TEST_CASE("a run is the same again by its seed") {
  const simulated_world world{.breaks = 4, .worker_deaths = 4, .scheduler_deaths = 0.5, .seconds = 1};
  CHECK(simulate(world, 31).print == simulate(world, 31).print);
  CHECK(simulate(world, 31).print != simulate(world, 32).print);
}
