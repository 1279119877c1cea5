// Waiting for something to come true, with a bound.
#pragma once

#include <thread>

#include "core/clock.hpp"

namespace shoal::test {

template <class Condition>
bool comes_true(Condition condition, milliseconds most = milliseconds(20000)) {
  const auto until = steady::now() + most;
  while (steady::now() < until) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return condition();
}

}  // namespace shoal::test
