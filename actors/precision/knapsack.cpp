#include "precision/knapsack.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace shoal::precision {

namespace {

constexpr std::size_t steps = 2000;
constexpr auto nothing = std::numeric_limits<std::uint16_t>::max();

}  // namespace

std::vector<std::size_t> choose(const std::vector<std::vector<knapsack_option>>& nodes, double budget) {
  std::vector<std::size_t> chosen(nodes.size(), keep);
  if (!(budget > 0)) return chosen;
  // best[s]: the most that the nodes so far gain with errors of s steps at most; taken[n][s]: node n's option in it.
  std::vector<double> best(steps + 1, 0);
  std::vector<std::vector<std::uint16_t>> taken(nodes.size(), std::vector<std::uint16_t>(steps + 1, nothing));
  const auto steps_of = [&](const knapsack_option& option) -> std::size_t {
    const bool is_usable = option.error >= 0 && option.error <= budget && option.gain > 0;
    return is_usable ? static_cast<std::size_t>(std::ceil(option.error / budget * steps)) : steps + 1;
  };
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    const auto before = best;
    for (std::size_t o = 0; o < nodes[n].size() && o < nothing; ++o) {
      const auto cost = steps_of(nodes[n][o]);
      for (auto s = cost; s <= steps; ++s)
        if (const auto gain = before[s - cost] + nodes[n][o].gain; gain > best[s]) {
          best[s] = gain;
          taken[n][s] = static_cast<std::uint16_t>(o);
        }
    }
  }
  auto left = steps;
  for (auto n = nodes.size(); n-- > 0;) {
    const auto option = taken[n][left];
    if (option == nothing) continue;
    chosen[n] = option;
    left -= steps_of(nodes[n][option]);
  }
  return chosen;
}

}  // namespace shoal::precision
