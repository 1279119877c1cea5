// The bytes on the wire are a contract with every other build and SDK. Each file in golden/ holds one message: a line
// of hexadecimal digits per frame. They change only together with protocolVersion, or for a new kind of message:
// `SHOAL_WRITE_GOLDEN=1 link_test -ts=golden` writes those that are missing.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "unit/link/samples.hpp"

namespace shoal::test {
namespace {

using frames = std::vector<std::vector<std::byte>>;

std::filesystem::path golden(const std::string& name) { return std::filesystem::path(GOLDEN_DIR) / (name + ".hex"); }

void write_golden(const std::string& name, const frames& content) {
  std::ofstream file(golden(name));
  for (const auto& bytes : content) {
    for (const auto byte : bytes) {
      constexpr const char* digits = "0123456789abcdef";
      file << digits[std::to_integer<int>(byte) >> 4] << digits[std::to_integer<int>(byte) & 15];
    }
    file << '\n';
  }
}

bool decodes_to(const expected<link::envelope>& got, const any_body& body) {
  if (!got || got->epoch != sample_epoch) return false;
  if (const auto* said = std::get_if<link::control>(&body)) {
    const auto* other = std::get_if<link::control>(&got->content);
    return other != nullptr && same(*other, *said);
  }
  const auto* other = std::get_if<protocol::message>(&got->content);
  return other != nullptr && same(*other, std::get<protocol::message>(body));
}

TEST_SUITE_BEGIN("golden");

TEST_CASE("every kind of message has golden bytes, which mean what they always meant") {
  const bool write = std::getenv("SHOAL_WRITE_GOLDEN") != nullptr;
  std::set<std::size_t> messages, controls;
  for (const auto& each : samples()) {
    CAPTURE(each.name);
    if (const auto* body = std::get_if<protocol::message>(&each.body)) messages.insert(body->index());
    if (const auto* body = std::get_if<link::control>(&each.body)) controls.insert(body->index());
    if (write && !std::filesystem::exists(golden(each.name))) write_golden(each.name, frames_of(each.body));
    const auto bytes = read_golden(each.name);
    REQUIRE_FALSE(bytes.empty());
    CHECK(bytes == frames_of(each.body));
    std::uint64_t copies = 0;
    CHECK(decodes_to(decode_frames(bytes, copies), each.body));
    CHECK(copies == 0);
  }
  CHECK(messages.size() == std::variant_size_v<protocol::message>);
  CHECK(controls.size() == std::variant_size_v<link::control>);
}

TEST_CASE("golden bytes with errors in them give a value or an error, and never more than they hold") {
  std::mt19937 random(20240501);
  std::size_t values = 0, errors = 0;
  for (const auto& each : samples()) {
    const auto intact = read_golden(each.name);
    REQUIRE_FALSE(intact.empty());
    for (int round = 0; round < 4000; ++round) {
      auto broken = intact;
      auto& frame = broken[random() % (round % 4 == 0 ? broken.size() : 1)];
      switch (random() % 8) {
        case 0:  // shorter
          frame.resize(random() % (frame.size() + 1));
          break;
        case 1:  // longer
          frame.resize(frame.size() + 1 + random() % 64, static_cast<std::byte>(random()));
          break;
        case 2:  // a frame too many or too few
          if (random() % 2 == 0)
            broken.emplace_back(random() % 32);
          else
            broken.pop_back();
          break;
        case 3:  // a word of noise
          for (int i = 0; i < 8 && !frame.empty(); ++i)
            frame[random() % frame.size()] = static_cast<std::byte>(random());
          break;
        default:  // a few bits
          for (auto flips = 1 + random() % 4; flips > 0 && !frame.empty(); --flips)
            frame[random() % frame.size()] ^= static_cast<std::byte>(1U << (random() % 8));
      }
      std::uint64_t copies = 0;
      const auto got = decode_frames(broken, copies);
      ++(got ? values : errors);
      if (!got) {
        REQUIRE_FALSE(got.error().message.empty());
        continue;
      }
      const auto* body = std::get_if<protocol::message>(&got->content);
      if (body == nullptr) continue;
      std::size_t held = 0;
      for (const auto& bytes : broken) held += bytes.size();
      const auto bytes = link::tensor_bytes(*body);
      REQUIRE(bytes);
      REQUIRE(*bytes <= held);
    }
  }
  CHECK(values > 1000);  // flipped bits in numbers are other numbers
  CHECK(errors > 1000);
}

TEST_SUITE_END();

}  // namespace
}  // namespace shoal::test
