// Objects for tests of the cache: bytes that follow from a number, and their names.
#pragma once

#include <cstddef>
#include <fstream>
#include <ios>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "core/buffer.hpp"
#include "protocol/object_file.hpp"

namespace shoal::test {

inline buffer object_bytes(unsigned seed, std::size_t size) {
  return buffer::make(size, [&](std::byte* to) {
    unsigned state = seed * 2654435761U + 1;
    for (std::size_t i = 0; i < size; ++i) {
      state = state * 1664525U + 1013904223U;
      to[i] = static_cast<std::byte>(state >> 24);
    }
  });
}

inline protocol::object_key name_of(const buffer& bytes) { return protocol::key_of(bytes.bytes()); }

/// Turns one bit of a file, whatever its mode.
inline void flip_bit(const std::filesystem::path& file, std::uint64_t at) {
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(at));
  const auto byte = static_cast<char>(stream.get() ^ 1);
  stream.seekp(static_cast<std::streamoff>(at));
  stream.put(byte);
  REQUIRE(stream.good());
}

}  // namespace shoal::test
