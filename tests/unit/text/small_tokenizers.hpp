// Small tokenizer.json documents to change and try.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "text/tokenizer.hpp"

namespace shoal::test {

/// BERT's, lower case: [UNK] 0, [CLS] 1, [SEP] 2, a 3, b 4, ##b 5, ab 6, ##c 7, "," 8; [CLS] and [SEP] go around.
nlohmann::json small_bert();
/// GPT-2's: the letters a, b, c and a space 0 to 3, then "ab" 4, "abc" 5, " a" 6, " abc" 7; nothing goes around.
nlohmann::json small_gpt2();
/// An entry of `added_tokens`.
nlohmann::json added(int id, const std::string& content);

/// Throws std::runtime_error with the reason.
std::shared_ptr<const text::tokenizer> read(const nlohmann::json& document);
/// The error of a document that must be refused.
error refused(const std::string& document);
error refused(const nlohmann::json& document);

std::vector<std::int64_t> ids(const nlohmann::json& document, std::string_view text);

}  // namespace shoal::test
