#include "core/name.hpp"

#include <doctest/doctest.h>

using namespace shoal;

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
