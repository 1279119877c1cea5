// The processor time of the calling thread: what planning may take is counted in it, since a planner that waits behind
// everybody else has not measured anything meanwhile.
#pragma once

#include <ctime>

namespace shoal::precision {

inline double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace shoal::precision
