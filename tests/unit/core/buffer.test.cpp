#include "core/buffer.hpp"

#include <array>
#include <cstdint>

#include <doctest/doctest.h>

using namespace shoal;

TEST_CASE("fresh bytes are aligned for vector instructions and hold what was filled in") {
  for (const std::size_t size : {0, 1, 63, 64, 65, 4096}) {
    const auto made = buffer::make(size, [size](std::byte* to) { std::memset(to, 7, size); });
    CHECK(made.size() == size);
    CHECK(reinterpret_cast<std::uintptr_t>(made.data()) % 64 == 0);
    for (const auto byte : made.bytes()) REQUIRE(byte == std::byte{7});
  }
}

TEST_CASE("a copy is independent of what it was copied from") {
  std::array<std::byte, 3> original{std::byte{1}, std::byte{2}, std::byte{3}};
  const auto copied = buffer::copy(original);
  original[1] = std::byte{9};
  CHECK(copied.data()[1] == std::byte{2});
  CHECK(buffer::copy({}).empty());
}

TEST_CASE("a slice keeps the owner alive, without a copy") {
  auto owner = std::make_shared<std::array<std::byte, 8>>();
  (*owner)[5] = std::byte{42};
  const std::weak_ptr watch = owner;
  auto whole = buffer(owner, *owner);
  owner.reset();
  auto part = whole.slice(4, 2);
  CHECK(part.data() == whole.data() + 4);
  whole = {};
  REQUIRE_FALSE(watch.expired());
  CHECK(part.size() == 2);
  CHECK(part.data()[1] == std::byte{42});
  part = {};
  CHECK(watch.expired());
}
