// Where a worker computes: on how many threads, and on which cores. Cores are given to the compute thread before
// LibTorch builds its team, whose threads inherit them; without, the system moves two workers' teams about and they get
// into each other's way.
#pragma once

#include <string>
#include <vector>

#include "core/error.hpp"

namespace shoal::worker {

struct compute_place {
  int threads = 1;
  std::vector<int> cores;  ///< empty: wherever the system likes
};

/// The cores this process may use: its affinity, at most as many as its cgroup's CPU quota pays for (rounded up).
std::vector<int> available_cores();

/// "0-3,8" as numbers, in order; empty text: none; "auto": all available. Errors: invalid_argument (not such a list, a
/// core that this process may not use).
expected<std::vector<int>> parse_cores(const std::string& text);

/// The shares of `cores` for `workers` compute threads, as equal as can be; more workers than cores share them.
std::vector<std::vector<int>> divide(const std::vector<int>& cores, std::size_t workers);

/// Puts the calling thread on the place's cores and sets its number of LibTorch threads. That the system refuses the
/// cores (a container's rules) is said, and nothing else changes.
void take_place(const compute_place& place);

}  // namespace shoal::worker
