#include "core/bounded_bytes.hpp"

#include <cstdint>
#include <string>

#include <doctest/doctest.h>

using shoal::bounded_bytes;
using shoal::byte_budget;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

TEST_CASE("it grows as bytes arrive, keeps them, and is aligned") {
  auto budget = std::make_shared<byte_budget>(std::size_t{2} << 20);
  bounded_bytes received(budget, std::size_t{1} << 20, std::nullopt);
  std::string sent;
  for (int i = 0; i < 300; ++i) sent += std::string(1000, static_cast<char>('a' + i % 26));
  CHECK(received.append(bytes_of(sent)) == sent.size());
  auto taken = received.take();
  REQUIRE(taken.size() == sent.size());
  CHECK(std::equal(taken.bytes().begin(), taken.bytes().end(), bytes_of(sent).begin()));
  CHECK(reinterpret_cast<std::uintptr_t>(taken.data()) % 64 == 0);
}

TEST_CASE("memory is taken in steps, not as a Content-Length claims") {
  auto budget = std::make_shared<byte_budget>(std::size_t{1} << 30);
  bounded_bytes received(budget, std::size_t{1} << 30, std::size_t{1} << 30);
  CHECK(budget->used() == 0);
  CHECK_FALSE(received.room().empty());
  CHECK(budget->used() <= std::size_t{64} << 10);
  received.append(bytes_of(std::string((std::size_t{64} << 10) + 1, 'x')));
  CHECK(budget->used() == std::size_t{4} << 20);
}

TEST_CASE("it holds what was announced and no more") {
  auto budget = std::make_shared<byte_budget>(1000);
  bounded_bytes received(budget, 1000, std::size_t{5});
  CHECK(received.append(bytes_of("abcdefgh")) == 5);
  CHECK(received.room().empty());
  CHECK_FALSE(received.exhausted());
  CHECK(budget->used() == 5);
}

TEST_CASE("several share a budget, which is given back when the last slice goes") {
  auto budget = std::make_shared<byte_budget>(100);
  bounded_bytes first(budget, 100, std::size_t{80});
  CHECK(first.append(bytes_of(std::string(80, 'x'))) == 80);
  bounded_bytes second(budget, 100, std::size_t{80});
  CHECK(second.room().empty());
  CHECK(second.exhausted());

  auto slice = first.take().slice(10, 5);
  CHECK(budget->used() == 80);
  slice = {};
  CHECK(budget->used() == 0);
  bounded_bytes third(budget, 100, std::size_t{80});
  CHECK(third.room().size() == 80);
}
