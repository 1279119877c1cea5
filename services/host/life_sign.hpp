// Tells whoever supervises this process that its link's thread goes round: a byte into a pipe that was inherited
// (SHOAL_WATCHDOG_FD), at most every 250 ms. A process that is stopped or hangs in that thread falls silent, and is
// killed and started again. Without the variable, or with one that names no pipe, nothing is told.
//
// Used by the link's thread only. It never waits: what does not fit into the pipe is not needed there.
#pragma once

#include "core/clock.hpp"

namespace shoal::services {

class life_sign {
 public:
  life_sign();
  ~life_sign();
  life_sign(const life_sign&) = delete;
  life_sign& operator=(const life_sign&) = delete;

  void give();

  static constexpr const char* variable = "SHOAL_WATCHDOG_FD";

 private:
  int pipe_ = -1;
  time_point due_{};
};

}  // namespace shoal::services
