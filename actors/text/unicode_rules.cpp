#include "text/unicode_rules.hpp"

#include <span>

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/utf16.h>

namespace shoal::text {

namespace {

struct range {
  char32_t first = 0;
  char32_t last = 0;
};

// Letters and numbers of Unicode 16.0 that ICU 72 does not know.
constexpr range later_letters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3}, {0x10D4A, 0x10D65},
    {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E},
    {0x11390, 0x113B5}, {0x113B7, 0x113B7}, {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0},
    {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED},
    {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D},
};
constexpr range later_numbers[] = {
    {0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x16130, 0x16139},
    {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA},
};
// Marks of then, which are part of words as letters and decimal numbers are.
constexpr range later_marks[] = {
    {0x897, 0x897},     {0x10D69, 0x10D6D}, {0x10EFC, 0x10EFC}, {0x113B8, 0x113C0},
    {0x113C2, 0x113C2}, {0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113D3},
    {0x113E1, 0x113E2}, {0x11F5A, 0x11F5A}, {0x1611E, 0x1612F}, {0x1E5EE, 0x1E5EF},
};

bool is_in(std::span<const range> ranges, char32_t character) {
  for (const auto& each : ranges)
    if (character >= each.first && character <= each.last) return true;
  return false;
}

UChar32 code(char32_t character) { return static_cast<UChar32>(character); }

bool is_of_category(char32_t character, std::uint32_t mask) { return (U_GET_GC_MASK(code(character)) & mask) != 0; }

/// Whether Unicode of that version assigned the character.
bool is_known_since(char32_t character, std::uint8_t major) {
  UVersionInfo age{};
  u_charAge(code(character), age);
  return age[0] != 0 && (age[0] < major || (age[0] == major && age[1] == 0));
}

bool is_ascii_symbol(char32_t character) {
  return (character >= '!' && character <= '/') || (character >= ':' && character <= '@') ||
         (character >= '[' && character <= '`') || (character >= '{' && character <= '~');
}

bool is_punctuation(char32_t character) {
  if (is_ascii_symbol(character)) return true;
  if (character == 0x166D || character == 0x111C9) return true;  // other categories since
  return is_of_category(character, U_GC_P_MASK) && is_known_since(character, 8);
}

std::uint8_t classes_of(char32_t character) {
  if (is_white_space(character)) return character_class::space;
  std::uint8_t classes = is_punctuation(character) ? character_class::punctuation : 0;
  const bool is_later_letter = is_in(later_letters, character);
  const bool is_later_number = is_in(later_numbers, character);
  if (is_later_letter || is_of_category(character, U_GC_L_MASK)) classes |= character_class::letter;
  if (is_later_number || is_of_category(character, U_GC_N_MASK)) classes |= character_class::number;
  // https://docs.rs/regex, "Unicode": Alphabetic, M, Nd, Pc and Join_Control.
  if (is_later_letter || is_later_number || is_in(later_marks, character) ||
      u_hasBinaryProperty(code(character), UCHAR_ALPHABETIC) != 0 ||
      u_hasBinaryProperty(code(character), UCHAR_JOIN_CONTROL) != 0 ||
      is_of_category(character, U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK))
    classes |= character_class::word;
  return classes;
}

bool is_surrogate(char32_t character) { return character >= 0xD800 && character <= 0xDFFF; }

}  // namespace

const character_pages<std::uint8_t>& character_classes() {
  static const character_pages<std::uint8_t> all(
      [](char32_t character) { return is_surrogate(character) ? std::uint8_t{} : classes_of(character); });
  return all;
}

bool is_white_space(char32_t character) { return u_hasBinaryProperty(code(character), UCHAR_WHITE_SPACE) != 0; }

bool is_removed_by_cleaning(char32_t character) {
  if (character == '\t' || character == '\n' || character == '\r') return false;
  if (character == 0 || character == 0xFFFD) return true;
  // The crate's "other" leaves out what is not assigned.
  return is_of_category(character, U_GC_CC_MASK | U_GC_CO_MASK) ||
         (is_of_category(character, U_GC_CF_MASK) && is_known_since(character, 8));
}

bool is_chinese(char32_t character) {
  static constexpr range blocks[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F},
  };
  return is_in(blocks, character);
}

bool is_nonspacing_mark(char32_t character) {
  if (character == 0x1734) return true;  // a spacing mark since 14.0
  // Letters, a spacing mark and punctuation in 8.0.
  if (character == 0x1885 || character == 0x1886 || character == 0xA9BD || character == 0x111C9) return false;
  return is_of_category(character, U_GC_MN_MASK) && is_known_since(character, 8);
}

std::uint8_t combining_class(char32_t character) {
  return is_known_since(character, 9) ? u_getCombiningClass(code(character)) : std::uint8_t{};
}

std::u32string decomposition(char32_t character) {
  auto failed = U_ZERO_ERROR;
  UChar units[32];
  const auto size = is_known_since(character, 9)
                        ? unorm2_getDecomposition(unorm2_getNFDInstance(&failed), code(character), units, 32, &failed)
                        : -1;
  if (size < 0 || U_FAILURE(failed) != 0) return {character};
  std::u32string parts;
  for (std::int32_t at = 0; at < size;) {
    UChar32 part = 0;
    U16_NEXT(units, at, size, part);
    parts += static_cast<char32_t>(part);
  }
  return parts;
}

std::u32string lower_case(char32_t character) {
  if (character == 0x130) return {0x69, 0x307};
  // Capitals of 16.0 and 17.0.
  if (character >= 0x10D50 && character <= 0x10D65) return {character + 0x20};
  if (character >= 0x16EA0 && character <= 0x16EB8) return {character + 0x1B};
  if (character == 0xA7CB) return {0x264};
  if (character == 0xA7DC) return {0x19B};
  for (const char32_t capital : {0x1C89, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA})
    if (character == capital) return {character + 1};
  return {static_cast<char32_t>(u_tolower(code(character)))};
}

}  // namespace shoal::text
