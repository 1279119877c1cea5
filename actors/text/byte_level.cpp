#include "text/byte_level.hpp"

#include <array>
#include <cstdint>

#include "text/unicode_rules.hpp"
#include "text/utf8.hpp"

namespace shoal::text {

namespace {

/// What the regular expression tells apart; every character is of one kind.
constexpr std::uint8_t kinds = character_class::space | character_class::letter | character_class::number;

class kind_table {
 public:
  kind_table() {
    for (char32_t i = 0; i < ascii_.size(); ++i) ascii_[i] = classes_[i] & kinds;
  }

  /// Of the character at `at`, which moves behind it.
  std::uint8_t next(const char*& at) const noexcept {
    if (const auto byte = static_cast<std::uint8_t>(*at); byte < 0x80) {
      ++at;
      return ascii_[byte];
    }
    return classes_[next_character(at)] & kinds;
  }

 private:
  const character_pages<std::uint8_t>& classes_ = character_classes();
  std::array<std::uint8_t, 128> ascii_{};
};

const kind_table& kind_of() {
  static const kind_table table;
  return table;
}

/// The end of the characters of one kind.
const char* run_end(const kind_table& table, const char* at, const char* end, std::uint8_t kind) noexcept {
  while (at < end) {
    const char* next = at;
    if (table.next(next) != kind) break;
    at = next;
  }
  return at;
}

/// How many bytes an English contraction at `at` has, 0 if there is none.
std::size_t contraction(const char* at, const char* end) noexcept {
  if (*at != '\'' || end - at < 2) return 0;
  if (at[1] == 's' || at[1] == 't' || at[1] == 'm' || at[1] == 'd') return 2;
  if (end - at < 3) return 0;
  const bool is_long =
      (at[1] == 'r' && at[2] == 'e') || (at[1] == 'v' && at[2] == 'e') || (at[1] == 'l' && at[2] == 'l');
  return is_long ? 3 : 0;
}

}  // namespace

const char* word_end(const char* at, const char* end) noexcept {
  const auto& table = kind_of();
  if (const auto size = contraction(at, end); size != 0) return at + size;
  const char* next = at;
  const auto kind = table.next(next);
  if (kind != character_class::space) return run_end(table, next, end, kind);
  if (*at == ' ' && next < end) {
    const char* word = next;
    if (const auto after = table.next(word); after != character_class::space) return run_end(table, word, end, after);
  }
  const char* const spaces = run_end(table, next, end, character_class::space);
  if (spaces == end || spaces == next) return spaces;
  // The last white space before a word is a match of its own, or part of the word's.
  const char* last = spaces - 1;
  while (is_continuation(*last)) --last;
  return last;
}

std::optional<std::string> bytes_of_token(std::string_view token) {
  // Printable characters of Latin 1 stand for themselves, the other bytes have characters from U+0100 on.
  static const auto bytes = [] {
    std::array<std::int16_t, 0x100 + 68> made{};
    made.fill(-1);
    std::size_t other = 0x100;
    for (std::int16_t byte = 0; byte < 0x100; ++byte) {
      const bool is_itself = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      made[is_itself ? static_cast<std::size_t>(byte) : other++] = byte;
    }
    return made;
  }();
  std::string made;
  for (const char* at = token.data(); at < token.data() + token.size();) {
    const auto character = next_character(at);
    if (character >= bytes.size() || bytes[character] < 0) return std::nullopt;
    made += static_cast<char>(static_cast<std::uint8_t>(bytes[character]));
  }
  return made;
}

}  // namespace shoal::text
