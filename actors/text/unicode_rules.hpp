// What `tokenizers` 0.23 takes each character for. Its parts follow Unicode of several ages: the crate
// unicode_categories 8.0 (and says only of characters of then that they are marks, punctuation or format controls),
// unicode-normalization-alignments 9.0, Oniguruma and the crate regex 16.0, Rust's lower case 17.0. ICU has 15.0, so
// the rules here are ICU's restricted by age, or with the ranges that came later. tests/unit/text compares all code
// points.
#pragma once

#include <cstdint>
#include <string>

#include "text/character_pages.hpp"

namespace shoal::text {

/// Bits of what a character belongs to.
namespace character_class {
inline constexpr std::uint8_t space = 1;        ///< White_Space, the same in all ages
inline constexpr std::uint8_t punctuation = 2;  ///< for BERT: ASCII's symbols too
inline constexpr std::uint8_t letter = 4;       ///< Oniguruma's \p{L}
inline constexpr std::uint8_t number = 8;       ///< Oniguruma's \p{N}
inline constexpr std::uint8_t word = 16;        ///< \w of the crate regex
}  // namespace character_class

/// Built when first asked for; any thread.
const character_pages<std::uint8_t>& character_classes();

/// What BERT's clean_text removes.
bool is_removed_by_cleaning(char32_t character);
bool is_white_space(char32_t character);
/// The blocks that BERT puts spaces around.
bool is_chinese(char32_t character);
/// Mn, which strip_accents removes.
bool is_nonspacing_mark(char32_t character);

/// The canonical combining class and decomposition (in canonical order) of Unicode 9.0.
std::uint8_t combining_class(char32_t character);
std::u32string decomposition(char32_t character);

/// Without regard to what is around it; one character except for U+0130.
std::u32string lower_case(char32_t character);

}  // namespace shoal::text
