// Whether the checker sees what it is there for: worlds in which one thing is done wrong on purpose, and what it says.
#include <algorithm>
#include <string>

#include <doctest/doctest.h>

#include "unit/simulation/mesh.hpp"

using namespace shoal::test;

namespace {

constexpr std::uint64_t most_seeds = 60;

/// Of how many worlds, until it says so.
std::size_t seeds_until(sabotage harm, world (*draw)(std::uint64_t), const std::string& says) {
  for (std::uint64_t seed = 1; seed <= most_seeds; ++seed) {
    auto of = draw(seed);
    of.harm = harm;
    const auto found = simulate(of, seed);
    if (std::any_of(found.broken.begin(), found.broken.end(),
                    [&](const std::string& each) { return each.find(says) != std::string::npos; }))
      return seed;
  }
  return most_seeds + 1;
}

}  // namespace

TEST_CASE("a network that says an outcome twice is found out") {
  CHECK(seeds_until(sabotage::outcomes_twice, draw_for_safety, "two outcomes") <= most_seeds);
}

TEST_CASE("a worker that gives a neighbour's row is found out") {
  CHECK(seeds_until(sabotage::neighbours_row, draw_for_safety, "a wrong answer") <= most_seeds);
}

TEST_CASE("a worker that computes by another version is found out") {
  CHECK(seeds_until(sabotage::other_version, draw_for_safety, "a wrong answer") <= most_seeds);
}

TEST_CASE("a client that does not keep its deadline is found out") {
  CHECK(seeds_until(sabotage::late_clients, draw_for_safety, "no outcome though") <= most_seeds);
}

TEST_CASE("link credit that is never given back is found out") {
  CHECK(seeds_until(sabotage::unsettled_credit, draw_for_safety, "link credit") <= most_seeds);
}

TEST_CASE("a cache that forgets what it had acknowledged is found out") {
  CHECK(seeds_until(sabotage::forgetful_cache, draw_for_safety, "a cache lost") <= most_seeds);
}

TEST_CASE("wrong bytes under an object's name are found out") {
  CHECK(seeds_until(sabotage::swapped_bytes, draw_for_safety, "wrong bytes") <= most_seeds);
}

TEST_CASE("a network that loses messages though its connections stay is found out") {
  CHECK(seeds_until(sabotage::lossy_when_calm, draw_for_liveness, "all was well") <= most_seeds);
}
