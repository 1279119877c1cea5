// Time as the concerns see it: monotonic, handed in by whoever drives them (an actor with CAF's clock, a test, the
// simulation). No concern asks the operating system for the time.
#pragma once

#include <chrono>

namespace shoal {

using steady = std::chrono::steady_clock;
using time_point = steady::time_point;
using std::chrono::microseconds;
using std::chrono::milliseconds;

}  // namespace shoal
