// How many workers of how many threads serve these models best on these cores: measured, since it depends on the
// models' sizes, the caches and the memory's bandwidth, and no table would be right elsewhere.
//
// Used once, at the start of the embedded mesh, before its workers are there. It runs every model's warm-up shape on
// each candidate for a short while. Bounded in time: once two are measured, what `budget` has no room for is left
// out, and said.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "protocol/actors.hpp"

namespace shoal::worker {

struct split {
  std::size_t workers = 1;
  int threads = 1;
  double rows_per_second = 0;  ///< geometric mean over the models; 0: not measured
};

struct calibration {
  split chosen;
  std::vector<split> measured;
  std::string sentence;  ///< "measured: 2 workers x 1 thread 341 rows/s, …: chosen 2 x 1"
};

/// The ways to split `cores`: as many threads as fit. A number that is not zero is given, not to be found.
std::vector<split> candidates(std::size_t cores, std::size_t workers, int threads);

/// Measures the candidates on the largest of `models`. One candidate: nothing is measured.
calibration calibrate(std::vector<protocol::load> models, const std::vector<int>& cores, std::size_t workers,
                      int threads, milliseconds budget = milliseconds(600));

}  // namespace shoal::worker
