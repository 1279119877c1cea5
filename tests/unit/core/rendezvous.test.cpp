#include "core/rendezvous.hpp"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace shoal;

namespace {

std::uint64_t owner(const std::string& key, const std::vector<std::uint64_t>& candidates) {
  std::uint64_t best = candidates.front();
  for (const auto candidate : candidates)
    if (rendezvous_weight(key, candidate) > rendezvous_weight(key, best)) best = candidate;
  return best;
}

constexpr int keys = 2000;
std::string key(int n) { return "model-" + std::to_string(n); }

}  // namespace

TEST_CASE("a candidate that comes takes only the keys it wins, one that goes gives up only its own") {
  const std::vector<std::uint64_t> three{11, 22, 33};
  const std::vector<std::uint64_t> four{11, 22, 33, 44};
  int moved = 0;
  for (int n = 0; n < keys; ++n) {
    const auto before = owner(key(n), three);
    const auto after = owner(key(n), four);
    if (before == after) continue;
    REQUIRE(after == 44);
    ++moved;
  }
  CHECK(moved > keys / 8);  // its fair share is a quarter
  CHECK(moved < keys / 2);
}

TEST_CASE("keys are shared out evenly, and the order in which candidates are known does not matter") {
  std::map<std::uint64_t, int> count;
  for (int n = 0; n < keys; ++n) {
    const auto winner = owner(key(n), {1, 2, 3, 4});
    REQUIRE(winner == owner(key(n), {4, 2, 1, 3}));
    ++count[winner];
  }
  for (std::uint64_t candidate = 1; candidate <= 4; ++candidate) {
    CHECK(count[candidate] > keys / 4 * 8 / 10);
    CHECK(count[candidate] < keys / 4 * 12 / 10);
  }
}
