#include "http/target.hpp"

#include <doctest/doctest.h>

using shoal::http::path_of;

TEST_CASE("a target is decoded and loses its query") {
  CHECK(*path_of("/") == "/");
  CHECK(*path_of("/v2/models/a%20b%2Fc?x=%ZZ") == "/v2/models/a b/c");
  CHECK(*path_of("/a#b") == "/a");
  CHECK(*path_of("/%00") == std::string("/\0", 2));
}

TEST_CASE("a whole URL is taken as its path") {
  CHECK(*path_of("http://host/v2/a%20b?x") == "/v2/a b");
  CHECK(*path_of("HTTPS://[::1]:8000/v2") == "/v2");
  for (auto target : {"http://host:80", "http://host?query", "http://host/"}) CHECK(*path_of(target) == "/");
}

TEST_CASE("a target that is no absolute path, or badly encoded, is refused") {
  for (auto target : {"", "v2", "*", "http://", "http:///v2", "http:/v2", "ftp://host/v2", "host:80", "/%", "/%4",
                      "/%4g", "/%-1", "/% 1"}) {
    CAPTURE(target);
    auto path = path_of(target);
    REQUIRE_FALSE(path);
    CHECK(path.error().code == shoal::errc::invalid_argument);
  }
}
