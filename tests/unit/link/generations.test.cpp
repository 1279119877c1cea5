// Two releases that follow each other work side by side during a rolling upgrade. golden/version-1 holds the bytes that
// releases of protocol version 1 write, and the schema they read with; neither is ever changed.
#include <doctest/doctest.h>

#include <cstring>
#include <set>

#include <capnp/serialize.h>
#include <kj/string.h>

#include "mesh_1.capnp.h"
#include "unit/link/samples.hpp"

namespace shoal::test {
namespace {

using frames = std::vector<std::vector<std::byte>>;

/// Everything that a release of version 1 sees in frame 1 of a message.
std::string as_seen_by_version_1(const std::vector<std::byte>& head) {
  std::vector<capnp::word> words(head.size() / sizeof(capnp::word));
  REQUIRE(words.size() * sizeof(capnp::word) == head.size());
  std::memcpy(words.data(), head.data(), head.size());
  capnp::FlatArrayMessageReader reader({words.data(), words.size()});
  return kj::str(reader.getRoot<wire1::Envelope>()).cStr();
}

TEST_CASE("what a release of version 1 says means to this one what it meant") {
  std::size_t known = 0;
  for (const auto& each : samples()) {
    CAPTURE(each.name);
    const auto bytes = read_golden("version-1/" + each.name);
    if (bytes.empty()) continue;  // a kind of message that came later
    ++known;
    std::uint64_t copies = 0;
    const auto got = decode_frames(bytes, copies);
    REQUIRE(got);
    const auto meant = as_of_version_1(each.body);
    if (const auto* said = std::get_if<link::control>(&meant))
      CHECK(same(std::get<link::control>(got->content), *said));
    else
      CHECK(same(std::get<protocol::message>(got->content), std::get<protocol::message>(meant)));
  }
  CHECK(known == 33);
}

TEST_CASE("what this release says, a release of version 1 reads as if it had been said by its own") {
  for (const auto& each : samples()) {
    CAPTURE(each.name);
    const auto theirs = read_golden("version-1/" + each.name);
    if (theirs.empty()) continue;
    const auto ours = frames_of(each.body);
    REQUIRE(ours.size() == theirs.size());
    CHECK(as_seen_by_version_1(ours[0]) == as_seen_by_version_1(theirs[0]));
    for (std::size_t i = 1; i < ours.size(); ++i) CHECK(ours[i] == theirs[i]);
  }
}

TEST_CASE("two releases talk in the newest version that both speak, or not at all") {
  const auto speaks = [](std::uint32_t oldest, std::uint32_t newest) {
    link::hello said;
    said.oldest = oldest;
    said.newest = newest;
    return said;
  };
  CHECK(link::common_version(speaks(1, 2), speaks(1, 1)) == 1);
  CHECK(link::common_version(speaks(1, 1), speaks(1, 2)) == 1);
  CHECK(link::common_version(speaks(1, 2), speaks(1, 2)) == 2);
  CHECK(link::common_version(speaks(1, 2), speaks(2, 3)) == 2);
  CHECK_FALSE(link::common_version(speaks(1, 1), speaks(2, 3)));
  CHECK_FALSE(link::common_version(speaks(3, 4), speaks(1, 2)));
}

}  // namespace
}  // namespace shoal::test
