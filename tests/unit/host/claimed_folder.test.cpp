#include "services/host/claimed_folder.hpp"

#include <unistd.h>

#include <doctest/doctest.h>

using namespace shoal;
using namespace shoal::services;
namespace fs = std::filesystem;

TEST_CASE("replicas with one configuration have folders of their own, and one that ends lets its folder go") {
  const auto above = fs::temp_directory_path() / ("shoal-claim-" + std::to_string(::getpid()));
  const auto pattern = (above / "*").string();
  {
    auto first = claim_folder(pattern);
    REQUIRE(first);
    CHECK(first->path == above / "1");
    CHECK(fs::is_directory(first->path));
    const auto second = claim_folder(pattern);
    REQUIRE(second);
    CHECK(second->path == above / "2");
    {
      const claimed_folder moved = std::move(*first);
      CHECK(claim_folder(pattern)->path == above / "3");
    }
    CHECK(claim_folder(pattern)->path == above / "1");
  }
  CHECK(claim_folder(pattern)->path == above / "1");
  fs::remove_all(above);
}

TEST_CASE("a folder without a pattern is taken as it is") {
  CHECK(claim_folder("/somewhere/else")->path == "/somewhere/else");
  CHECK(claim_folder("")->path.empty());
}

TEST_CASE("what cannot be made is said") {
  const auto refused = claim_folder("/proc/nothing/*");
  REQUIRE(!refused);
  CHECK(refused.error().code == errc::unavailable);
  CHECK(refused.error().message.find("/proc/nothing/1") != std::string::npos);
}
