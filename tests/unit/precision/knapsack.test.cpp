#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "precision/knapsack.hpp"

namespace {

using namespace shoal::precision;

struct outcome {
  double gain = 0;
  double error = 0;
};

outcome of(const std::vector<std::vector<knapsack_option>>& nodes, const std::vector<std::size_t>& chosen) {
  outcome sum;
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    if (chosen[n] == keep) continue;
    sum.gain += nodes[n][chosen[n]].gain;
    sum.error += nodes[n][chosen[n]].error;
  }
  return sum;
}

/// Every combination there is.
double best_gain(const std::vector<std::vector<knapsack_option>>& nodes, std::size_t n, double left) {
  if (n == nodes.size()) return 0;
  double best = best_gain(nodes, n + 1, left);
  for (const auto& option : nodes[n])
    if (option.error >= 0 && option.error <= left)
      best = std::max(best, option.gain + best_gain(nodes, n + 1, left - option.error));
  return best;
}

}  // namespace

TEST_CASE("the knapsack takes for each node the option that gains most together, within the budget") {
  const std::vector<std::vector<knapsack_option>> nodes{
      {{3, 0.5}, {2, 0.1}},
      {{3, 0.5}, {2.5, 0.4}},
      {{1, 0.2}},
  };
  CHECK(choose(nodes, 1.21) == std::vector<std::size_t>{0, 0, 0});
  CHECK(choose(nodes, 1.0) == std::vector<std::size_t>{0, 0, keep});
  CHECK(choose(nodes, 0.72) == std::vector<std::size_t>{1, 1, 0});
  CHECK(choose(nodes, 0.05) == std::vector<std::size_t>{keep, keep, keep});
}

TEST_CASE("options that cannot be used, lose time or are not numbers are never taken") {
  const auto nan = std::nan("");
  const std::vector<std::vector<knapsack_option>> nodes{{{5, -1}},    {{-1, 0}},       {{0, 0}}, {{5, nan}},
                                                        {{nan, 0.1}}, {{5, INFINITY}}, {},       {{1, 0}}};
  const std::vector<std::size_t> wanted{keep, keep, keep, keep, keep, keep, keep, 0};
  CHECK(choose(nodes, 1) == wanted);
  CHECK(choose(nodes, 0) == std::vector<std::size_t>(8, keep));
  CHECK(choose(nodes, nan) == std::vector<std::size_t>(8, keep));
  CHECK(choose({}, 1).empty());
}

TEST_CASE("the knapsack comes within a thousandth of the best of all combinations, and never above the budget") {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> share(0.01, 1);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::vector<knapsack_option>> nodes(7);
    for (auto& node : nodes)
      for (int o = 0; o < 3; ++o) node.push_back({share(random), share(random)});
    const auto found = of(nodes, choose(nodes, 2));
    CHECK(found.error <= 2 + 1e-12);
    // Rounding up may cost seven steps of the budget; so much less is what is surely reached.
    CHECK(found.gain >= best_gain(nodes, 0, 2 - 7 * 2 / 2000.0) - 1e-12);
  }
}
