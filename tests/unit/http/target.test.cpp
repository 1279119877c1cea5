#include "http/target.hpp"

#include <doctest/doctest.h>

using shoal::http::path_of;

TEST_CASE("a target is decoded and loses its query") {
  CHECK(*path_of("/") == "/");
  CHECK(*path_of("/v2/models/a%20b%2Fc?x=%ZZ") == "/v2/models/a b/c");
  CHECK(*path_of("/a#b") == "/a");
  CHECK(*path_of("/%00") == std::string("/\0", 2));
}

TEST_CASE("a target that is no absolute path, or badly encoded, is refused") {
  for (auto target : {"", "v2", "*", "http://host/v2", "/%", "/%4", "/%4g", "/%-1", "/% 1"}) {
    CAPTURE(target);
    auto path = path_of(target);
    REQUIRE_FALSE(path);
    CHECK(path.error().code == shoal::errc::invalid_argument);
  }
}
