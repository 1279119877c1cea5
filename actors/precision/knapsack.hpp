// The choice of one option per node that gains most time within a budget of error: a multiple-choice knapsack, solved
// exactly over errors rounded up to thousandths of the budget (Kellerer, Pferschy, Pisinger 2004, chapter 11). Pure.
#pragma once

#include <cstddef>
#include <vector>

namespace shoal::precision {

struct knapsack_option {
  double gain = 0;   ///< any unit; options that gain nothing are never chosen over the one that costs nothing
  double error = 0;  ///< adds up over nodes; negative or not a number: not to be chosen
};

/// For each node the index of its option, or `keep` (no gain, no error). The sum of errors is at most `budget`.
inline constexpr std::size_t keep = static_cast<std::size_t>(-1);
std::vector<std::size_t> choose(const std::vector<std::vector<knapsack_option>>& nodes, double budget);

}  // namespace shoal::precision
