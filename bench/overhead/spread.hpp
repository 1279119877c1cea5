// The middle of some measurements and how far they lie apart.
#pragma once

#include <algorithm>
#include <vector>

namespace shoal::bench {

/// The value below which the fraction `q` of `values` lies; zero for none.
inline double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

struct spread {
  double median = 0;
  double low = 0;   ///< the smallest
  double high = 0;  ///< the largest

  static spread of(const std::vector<double>& values) {
    return {quantile(values, 0.5), quantile(values, 0), quantile(values, 1)};
  }
};

}  // namespace shoal::bench
