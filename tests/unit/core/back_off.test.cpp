#include "core/back_off.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace std::chrono_literals;

TEST_CASE("a wait doubles with each try that failed, up to the longest") {
  CHECK(doubled(50ms, 0, 2000ms) == 50ms);
  CHECK(doubled(50ms, 1, 2000ms) == 100ms);
  CHECK(doubled(50ms, 5, 2000ms) == 1600ms);
  CHECK(doubled(50ms, 6, 2000ms) == 2000ms);
  CHECK(doubled(50ms, 0, 20ms) == 20ms);
  CHECK(doubled(1ms, 4'000'000'000U, milliseconds::max()) == 1ms * (1 << 20));
  CHECK(doubled<std::chrono::nanoseconds>(1h, 4'000'000'000U, 30 * 24h) == 30 * 24h);
}
