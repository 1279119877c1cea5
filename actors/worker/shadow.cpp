#include "worker/shadow.hpp"

#include <algorithm>
#include <cmath>

namespace shoal::worker {

namespace {

double seconds_of(steady::duration took) { return std::chrono::duration<double>(took).count(); }

}  // namespace

bool shadow::is_due(steady::duration batch) {
  if (!(options_.share > 0)) return false;
  earned_ += seconds_of(batch) * options_.share;
  // The first one is for free: it tells what one costs. Idle hours are not saved up for.
  earned_ = std::min(earned_, std::max(2 * cost_, seconds_of(batch)));
  return earned_ >= cost_;
}

void shadow::charge(steady::duration took) {
  cost_ = seconds_of(took);
  earned_ -= cost_;
}

void shadow::add(steady::duration took, std::vector<executor::output_error> errors) {
  charge(took);
  samples_.push_back(std::move(errors));
  if (samples_.size() > options_.window) samples_.pop_front();
}

double shadow::error() const {
  std::vector<executor::output_error> sums;
  for (const auto& sample : samples_) {
    sums.resize(std::max(sums.size(), sample.size()));
    for (std::size_t o = 0; o < sample.size(); ++o) {
      sums[o].difference += sample[o].difference;
      sums[o].size += sample[o].size;
      sums[o].is_finite = sums[o].is_finite && sample[o].is_finite;
    }
  }
  return executor::largest_error(sums);
}

bool shadow::is_breached() const {
  if (samples_.empty()) return false;
  const double found = error();
  if (!std::isfinite(found)) return true;
  return options_.budget > 0 && samples_.size() >= options_.least && found > options_.budget * options_.tolerance;
}

}  // namespace shoal::worker
