#include "core/name.hpp"
#include "protocol/link.hpp"

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::protocol;

TEST_CASE("a model's name is never a path and never longer than 64 characters") {
  CHECK(is_name("m"));
  CHECK(is_name("all-MiniLM-L6.v2_b"));
  CHECK(is_name(std::string(64, 'a')));
  CHECK_FALSE(is_name(std::string(65, 'a')));
  CHECK_FALSE(is_name(""));
  CHECK_FALSE(is_name("."));
  CHECK_FALSE(is_name(".."));
  CHECK_FALSE(is_name(".hidden"));
  CHECK_FALSE(is_name("a/b"));
  CHECK_FALSE(is_name("a\\b"));
  CHECK_FALSE(is_name("a b"));
  CHECK_FALSE(is_name("a\n"));
  CHECK_FALSE(is_name("modèle"));
  CHECK_FALSE(is_name(std::string_view("a\0b", 3)));
}

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
