#include "services/mesh/bench/search.hpp"

#include <cmath>

namespace shoal::services::bench {

namespace {
constexpr double growth = 2;
constexpr double tolerance = 1.05;
constexpr double lowest_rate = 0.1;
constexpr double highest_rate = 1e6;
}  // namespace

double value_of(const histogram& latency, const bound& wanted) {
  return wanted.of == "mean" ? latency.mean() : static_cast<double>(latency.percentile(wanted.p));
}

bool bears(const result& ran, const bound& wanted) {
  const auto all = ran.total();
  return all.ok > 0 && ran.unsent == 0 && all.failure_ratio() < most_failures &&
         value_of(all.latency, wanted) < wanted.us;
}

double find_highest(double first, const attempt& tries) {
  double passed = 0;
  double failed = 0;
  for (double rate = first; (passed == 0 || failed == 0) && rate >= lowest_rate && rate <= highest_rate;) {
    const auto bore = tries(rate);
    if (!bore) return passed;
    (*bore ? passed : failed) = rate;
    rate = *bore ? rate * growth : rate / growth;
  }
  while (passed > 0 && failed / passed > tolerance) {
    const auto rate = std::sqrt(passed * failed);
    const auto bore = tries(rate);
    if (!bore) return passed;
    (*bore ? passed : failed) = rate;
  }
  return passed;
}

}  // namespace shoal::services::bench
