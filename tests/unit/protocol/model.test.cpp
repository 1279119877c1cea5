#include "protocol/link.hpp"

#include <doctest/doctest.h>

using namespace shoal::protocol;

TEST_CASE("a dimension is fixed only if it can have one size") {
  CHECK(dimension::fixed(3).is_fixed());
  CHECK_FALSE(dimension{1, 3, "batch"}.is_fixed());
  CHECK_FALSE(dimension{}.is_fixed());
}

TEST_CASE("services have names") {
  CHECK(name_of(service_kind::gateway) == "gateway");
  CHECK(name_of(service_kind::worker) == "worker");
  CHECK(name_of(static_cast<service_kind>(99)) == "unknown");
}
