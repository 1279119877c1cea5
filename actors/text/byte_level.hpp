// GPT-2's way to split text into words, and its alphabet, in which a character stands for each byte
// (https://github.com/openai/gpt-2, src/encoder.py).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace shoal::text {

/// The end of the word that begins at `at`, before `end`: the first match of
/// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
const char* word_end(const char* at, const char* end) noexcept;

/// The bytes that a token stands for; none if it has other characters than the alphabet's.
std::optional<std::string> bytes_of_token(std::string_view token);

}  // namespace shoal::text
