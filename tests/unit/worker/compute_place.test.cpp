#include "worker/compute_place.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::worker;

TEST_CASE("a list of cores is read, sorted and without doubles; anything else is refused with the list") {
  const auto mine = available_cores();
  REQUIRE_FALSE(mine.empty());
  const auto first = std::to_string(mine.front());
  CHECK(parse_cores("")->empty());
  CHECK(parse_cores(first).value() == std::vector{mine.front()});
  CHECK(parse_cores(first + "-" + first + "," + first).value() == std::vector{mine.front()});
  for (const auto* wrong : {"a", "1-", "-1", "3-1", "1,,2", "1;2", "99999"}) {
    CAPTURE(wrong);
    const auto refused = parse_cores(wrong);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find(wrong) != std::string::npos);
  }
}

TEST_CASE("cores are shared out as equally as can be, and shared when there are too few") {
  using lists = std::vector<std::vector<int>>;
  CHECK(divide({0, 1, 2, 3}, 2) == lists{{0, 1}, {2, 3}});
  CHECK(divide({4, 5, 6}, 2) == lists{{4}, {5, 6}});
  CHECK(divide({7}, 3) == lists{{7}, {7}, {7}});
  CHECK(divide({}, 2) == lists{{}, {}});
}
