// CRC-32 as zip uses it (ISO 3309, polynomial 0xEDB88320), sixteen bytes a step: "slicing", M. Kounavis and F. Berry,
// "A Systematic Approach to Building High Performance Software-Based CRC Generators", 2005.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace shoal::executor {

namespace crc_detail {
inline constexpr auto tables = [] {
  std::array<std::array<std::uint32_t, 256>, 16> made{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0);
    made[0][i] = crc;
  }
  for (std::size_t slice = 1; slice < made.size(); ++slice)
    for (std::size_t i = 0; i < 256; ++i)
      made[slice][i] = (made[slice - 1][i] >> 8) ^ made[0][made[slice - 1][i] & 0xFF];
  return made;
}();
}  // namespace crc_detail

inline std::uint32_t crc32(std::span<const std::byte> bytes) noexcept {
  static_assert(std::endian::native == std::endian::little);
  const auto& table = crc_detail::tables;
  std::uint32_t crc = 0xFFFFFFFFU;
  const auto* at = bytes.data();
  auto left = bytes.size();
  for (; left >= 16; left -= 16, at += 16) {
    std::array<std::uint32_t, 4> word{};
    std::memcpy(word.data(), at, 16);
    word[0] ^= crc;
    crc = 0;
    for (std::size_t w = 0; w < 4; ++w)
      for (std::size_t b = 0; b < 4; ++b) crc ^= table[15 - (4 * w + b)][(word[w] >> (8 * b)) & 0xFF];
  }
  for (; left > 0; --left, ++at) crc = (crc >> 8) ^ table[0][(crc ^ static_cast<std::uint32_t>(*at)) & 0xFF];
  return ~crc;
}

}  // namespace shoal::executor
