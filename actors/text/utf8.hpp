// UTF-8 as Unicode 15 §3.9 has it (table 3-7): no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace shoal::text {

/// The offset of the first byte that begins no whole, well-formed character; text.size() if there is none.
std::size_t first_malformed(std::string_view text) noexcept;

constexpr bool is_continuation(char byte) noexcept { return (static_cast<std::uint8_t>(byte) & 0xC0) == 0x80; }

/// The character at `at`, which moves behind it. Only for text without malformed characters, and within it.
inline char32_t next_character(const char*& at) noexcept {
  const auto byte = [&](int i) { return static_cast<char32_t>(static_cast<std::uint8_t>(at[i])); };
  const auto first = byte(0);
  char32_t character = first;
  if (first < 0x80) {
    at += 1;
  } else if (first < 0xE0) {
    character = (first & 0x1F) << 6 | (byte(1) & 0x3F);
    at += 2;
  } else if (first < 0xF0) {
    character = (first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    at += 3;
  } else {
    character = (first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
    at += 4;
  }
  return character;
}

/// The last character of `text`, which has one and no malformed ones.
inline char32_t last_character(std::string_view text) noexcept {
  const char* at = text.data() + text.size() - 1;
  while (is_continuation(*at)) --at;
  return next_character(at);
}

void append_utf8(char32_t character, std::string& to);

}  // namespace shoal::text
