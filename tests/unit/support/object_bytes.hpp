// Bytes that follow from a number, and the harm that is done to files of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ios>
#include <stdexcept>

#include "core/buffer.hpp"

namespace shoal::test {

/// No run of bytes of one seed is found in those of another (SplitMix64 over the seed and the place).
inline buffer object_bytes(unsigned seed, std::size_t size) {
  return buffer::make(size, [&](std::byte* to) {
    for (std::size_t at = 0; at < size; at += sizeof(std::uint64_t)) {
      auto word = ((std::uint64_t{seed} << 32) + at + 1) * 0x9e3779b97f4a7c15ULL;
      word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ULL;
      word = (word ^ (word >> 27)) * 0x94d049bb133111ebULL;
      word ^= word >> 31;
      std::memcpy(to + at, &word, std::min(sizeof word, size - at));
    }
  });
}

/// Turns one bit of a file, whatever its mode. Throws std::runtime_error if it cannot.
inline void flip_bit(const std::filesystem::path& file, std::uint64_t at) {
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(at));
  const auto byte = static_cast<char>(stream.get() ^ 1);
  stream.seekp(static_cast<std::streamoff>(at));
  stream.put(byte);
  if (!stream.flush()) throw std::runtime_error("cannot turn a bit of " + file.string());
}

}  // namespace shoal::test
