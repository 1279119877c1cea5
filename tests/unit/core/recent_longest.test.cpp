#include "core/recent_longest.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace std::chrono_literals;

TEST_CASE("the longest of late is kept for ten to twenty seconds, whatever comes after it") {
  recent_longest longest;
  time_point now{std::chrono::hours(1)};
  CHECK(longest.longest() == 0s);
  longest.note(300ms, now);
  longest.note(100ms, now += 9s);
  CHECK(longest.longest() == 300ms);
  longest.note(200ms, now += 2s);  // the span before this one
  CHECK(longest.longest() == 300ms);
  longest.note(50ms, now += 10s);
  CHECK(longest.longest() == 200ms);
}

TEST_CASE("what was noted last counts, however long ago, until something else is noted") {
  recent_longest longest;
  time_point now{std::chrono::hours(1)};
  longest.note(3s, now);
  CHECK(longest.longest() == 3s);
  longest.note(1s, now += 30s);
  CHECK(longest.longest() == 1s);
}
