// Thousands of small worlds, each with its own faults: what the mesh promises holds in all of them. One that breaks it
// is said with the command that shows it again; SHOAL_SEED=N (SHOAL_TRACE=1) runs that one alone.
#include <chrono>
#include <cstdlib>
#include <string>

#include <doctest/doctest.h>

#include "unit/simulation/mesh.hpp"

using namespace shoal;
using namespace shoal::test;

namespace {

std::pair<std::uint64_t, std::uint64_t> seeds(std::uint64_t first, std::uint64_t count) {
  if (const char* one = std::getenv("SHOAL_SEED")) return {std::stoull(one), 1};
  if (const char* more = std::getenv("SHOAL_SEEDS")) count = std::stoull(more);
  return {first, count};
}

void run_all(const std::string& of, world (*draw)(std::uint64_t), std::uint64_t count) {
  const auto [first, many] = seeds(1, count);
  checker::history all;
  std::size_t failed = 0;
  for (auto seed = first; seed < first + many; ++seed) {
    const auto found = simulate(draw(seed), seed);
    all.asked += found.seen.asked;
    all.answered += found.seen.answered;
    all.refused += found.seen.refused;
    all.expired += found.seen.expired;
    if (found.broken.empty()) continue;
    std::string text = " " + to_text(draw(seed));
    for (const auto& each : found.broken) text += "\n  " + each;
    for (const auto& each : found.trace) text += "\n    " + each;
    FAIL_CHECK("seed ", seed, " of ", of, ":", text, "\n  SHOAL_SEED=", seed, " SHOAL_TRACE=1 simulation_test -tc='",
               of, "*'");
    if (++failed == 10) break;
  }
  MESSAGE(many, " worlds: ", all.asked, " requests, ", all.answered, " answered, ", all.refused, " refused, ",
          all.expired, " expired");
  CHECK((many < 100 || all.answered > all.asked / 2));
}

}  // namespace

TEST_CASE("safety: whatever goes wrong, nothing is promised that is not kept") {
  run_all("safety", draw_for_safety, 2500);
}

TEST_CASE("liveness: when faults have ended, all is well soon, and everybody is answered") {
  run_all("liveness", draw_for_liveness, 1500);
}
