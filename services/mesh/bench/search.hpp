// The highest rate that a server bears: doubling until it does not, then bisection.
#pragma once

#include <functional>
#include <optional>

#include "services/mesh/bench/numbers.hpp"
#include "services/mesh/bench/run.hpp"

namespace shoal::services::bench {

/// Whether it bears this rate; nothing: stop the search.
using attempt = std::function<std::optional<bool>(double rate)>;

/// Of more failures (no outcomes among them), a step has failed.
inline constexpr double most_failures = 0.01;

/// A run bears its rate if the latency named by `wanted` is below it and fewer than most_failures of the requests
/// failed.
bool bears(const result& ran, const bound& wanted);
/// us: the latency that `wanted` names.
double value_of(const histogram& latency, const bound& wanted);

/// Doubles from `first` until a rate fails (or halves until one does not), then bisects, at the geometric mean, until
/// the lowest that failed is within 5% of the highest that did not. Returns that; 0: none did.
double find_highest(double first, const attempt& tries);

}  // namespace shoal::services::bench
