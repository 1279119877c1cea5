// A tokenizer.json in parts: the vocabulary and the merges, which are large, as plain lists, all else as a document of
// bounded size. Inside the reader errors travel as `refusal`, caught where the reader is entered.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace shoal::text {

using json = nlohmann::json;

/// Thrown and caught within the reader only.
struct refusal {
  error reason;
};
[[noreturn]] void refuse(errc code, std::string message);
/// The file is not what the library writes: says to make it again.
[[noreturn]] void refuse_damaged(const std::string& message);

struct json_parts {
  json document;  ///< with an empty model.vocab and model.merges
  std::vector<std::pair<std::string, std::int32_t>> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;
  bool has_merges = false;
  std::string damage;  ///< of the vocabulary or the merges, for a model whose they are; empty: none
};

/// `where` names the text in errors. Throws `refusal`.
json_parts parse_parts(std::string_view text, const std::string& where);

/// object[key], which must be there and of that type; `where` names the object in errors.
const json& at(const json& object, const char* key, const std::string& where);
const std::string& string_at(const json& object, const char* key, const std::string& where);
const std::string& as_string(const json& value, const std::string& where);
bool boolean_at(const json& object, const char* key, const std::string& where);
/// From 0 to 2^31 - 1.
std::int32_t as_id(const json& value, const std::string& where);
/// object[key] if it is there and not null.
const json* find(const json& object, const char* key);

}  // namespace shoal::text
