// Strict access to the archive's JSON. Inside the reader errors travel as `refusal`, caught where the reader is
// entered, so that the code reads as the format does.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace shoal::executor {

using json = nlohmann::json;

/// Thrown and caught within the reader only.
struct refusal {
  error reason;
  bool is_malformed = false;  ///< not what the file's format says: whoever reads it knows how to make it again
};

/// The reason, with what to do about a file that is malformed.
inline error explained(const refusal& wrong, const char* what_to_do) {
  auto reason = wrong.reason;
  if (wrong.is_malformed) reason.message += std::string("; ") + what_to_do;
  return reason;
}
inline constexpr const char* export_again = "export the model again";

[[noreturn]] inline void refuse(errc code, std::string message) { throw refusal{{code, std::move(message)}}; }

/// Parses `text`. Nesting is bounded first, so that no later recursion over the document can exhaust the stack.
json parse_json(std::string_view text, const std::string& where);
/// Likewise, of what people write: a key that an object has twice is refused.
json parse_written_json(std::string_view text, const std::string& where);
/// Refuses other keys than those, which it lists.
void check_keys(const json& object, std::span<const std::string_view> known, const std::string& where);

/// object[key], which must be there and, if asked for, of that type; `where` names the object in errors.
const json& at(const json& object, const char* key, const std::string& where);
const std::string& string_at(const json& object, const char* key, const std::string& where);
const json& array_at(const json& object, const char* key, const std::string& where);
const json& object_at(const json& object, const char* key, const std::string& where);
bool boolean_at(const json& object, const char* key, const std::string& where);
std::int64_t integer_at(const json& object, const char* key, const std::string& where);
/// A string without NUL characters: names go on to interfaces that end at the first.
const std::string& as_text(const json& value, const std::string& where);
std::int64_t as_integer(const json& value, const std::string& where);

/// A number, or one of the strings "Infinity", "-Infinity", "NaN" (schema.py's float).
double as_real(const json& value, const std::string& where);

/// The unions of the schema are objects with one key: (key, value).
std::pair<std::string_view, const json&> as_union(const json& value, const std::string& where);

}  // namespace shoal::executor
