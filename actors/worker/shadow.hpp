// Whether a plan keeps what it promised: now and then a request is also run in fp32, and the answers are compared. Says
// when, and what the comparisons come to; runs nothing itself. Pure, used by one thread.
//
// Samples are paid for from a share of the compute time, so what they cost is bounded whatever the model and the
// traffic. One request of a batch is enough, since an answer does not depend on its batch-mates.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "core/clock.hpp"
#include "executor/output_error.hpp"

namespace shoal::worker {

struct shadow_options {
  double share = 0.02;      ///< of the compute time; 0: nothing is sampled
  double budget = 0;        ///< the plan's, of the outputs' error; 0: it promised none, and only has to be finite
  double tolerance = 1.5;   ///< times the budget: a breach. Few samples waver by about as much
  std::size_t window = 20;  ///< samples that count
  std::size_t least = 4;    ///< before there is a verdict, unless a number is not finite
};

class shadow {
 public:
  explicit shadow(shadow_options options) : options_(options) {}

  /// After a batch that took so long: whether a request of it is to be run in fp32, too.
  bool is_due(steady::duration batch);

  /// What that run took, if it failed.
  void charge(steady::duration took);
  /// What that run took, and the error of each output.
  void add(steady::duration took, std::vector<executor::output_error> errors);

  /// Over the samples that count: the largest of the outputs'.
  [[nodiscard]] double error() const;
  [[nodiscard]] std::size_t samples() const noexcept { return samples_.size(); }
  [[nodiscard]] bool is_breached() const;
  [[nodiscard]] const shadow_options& options() const noexcept { return options_; }

 private:
  shadow_options options_;
  double earned_ = 0;  ///< seconds
  double cost_ = 0;    ///< of a sample, as the last one took; 0: not known yet
  std::deque<std::vector<executor::output_error>> samples_;
};

}  // namespace shoal::worker
