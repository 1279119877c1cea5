// How far outputs are from what they should be: sums that add up over samples. Pure, no LibTorch.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.hpp"

namespace shoal::executor {

/// Of one output, over any number of samples.
struct output_error {
  double difference = 0;  ///< sum of squared differences
  double size = 0;        ///< sum of squares of what it should be
  bool is_finite = true;  ///< false: a number is not finite, or shapes differ

  /// Root mean square of the difference over that of what it should be; infinity if it is not finite.
  [[nodiscard]] double relative() const;
};

/// Real numbers are compared as such. Of all else (labels, counts) each element that is another counts as a whole one.
void add_error(const tensor& wanted, const tensor& given, output_error& sums);

/// The largest of several outputs' errors; 0 for none.
double largest_error(const std::vector<output_error>& sums);

/// Whether every real number is finite.
bool is_finite(const tensor& of);

}  // namespace shoal::executor
