// What the inputs of int8 nodes reach while they run, beside what they reached when the plan was made: numbers beyond
// it are rounded coarsely (rows have scales of their own) or cut off (images have the plan's). Plain data.
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "executor/precision_plan.hpp"

namespace shoal::executor {

struct node_reach {
  double range = 0;       ///< the largest max - min of a row, with 0; of nodes whose rows have scales of their own
  double saturation = 0;  ///< the largest share of an image's numbers at the upper end of its range
  bool is_finite = true;  ///< nothing was NaN or infinite
};

/// By the exported node's name.
using reaches = std::map<std::string, node_reach>;

/// How far beyond what it reached at calibration is worth a comparison with fp32.
inline constexpr double tolerated_range = 4;
inline constexpr double tolerated_saturation = 0.005;

/// The node of the plan that is furthest beyond; empty: none is.
inline std::string node_out_of_reach(const reaches& seen, const precision_plan& plan) {
  std::string worst;
  double furthest = 1;
  for (const auto& [name, reach] : seen) {
    const auto planned = plan.nodes.find(name);
    if (planned == plan.nodes.end()) continue;
    double beyond = reach.is_finite ? 0 : std::numeric_limits<double>::infinity();
    if (planned->second.reach > 0) beyond = std::max(beyond, reach.range / (tolerated_range * planned->second.reach));
    if (planned->second.input_range)
      beyond = std::max(beyond, reach.saturation / (2 * planned->second.saturation + tolerated_saturation));
    if (beyond <= furthest) continue;
    furthest = beyond;
    worst = name;
  }
  return worst;
}

}  // namespace shoal::executor
