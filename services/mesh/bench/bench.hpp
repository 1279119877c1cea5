// A whole measurement: connects, encodes the requests, makes sure that each model answers, runs every rate.
#pragma once

#include <functional>
#include <optional>

#include "services/mesh/bench/plan.hpp"
#include "services/mesh/bench/run.hpp"

namespace shoal::services::bench {

struct measured {
  bench::plan plan;
  std::vector<std::string> inputs;  ///< of each stream: "input_ids INT64[1, 16], ..., 1 distinct request"
  std::vector<std::string> notes;   ///< what people should know before they believe the figures
  std::vector<result> steps;
  std::vector<bool> borne;     ///< of a search: whether each step bore its rate
  double highest = 0;          ///< of a search: the highest rate that was borne; 0: none was
  bool too_few_below = false;  ///< of a search: it ended because lower rates bring too few answers for its percentile

  /// Of a search: the step of `highest`, and the one of the lowest rate that was not borne; null: there is none.
  [[nodiscard]] const result* last_borne() const;
  [[nodiscard]] const result* first_not_borne() const;
};

struct observer {
  watcher watched;
  std::function<void(const measured& so_far)> begun;  ///< the server has answered a first request of each model
  std::function<void(const measured& so_far)> step;   ///< after each step
};

/// Errors: those of connect, describe and make_requests; what a model's first request failed with, unless it was
/// refused or late.
expected<measured> measure(plan what, const observer& seen);

/// The same on a target that is there.
expected<measured> measure(plan what, target& on, const observer& seen);

}  // namespace shoal::services::bench
