#include "executor/json_access.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <vector>

namespace shoal::executor {

namespace {

constexpr int deepest = 64;

bool is_nested_too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > deepest) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

[[noreturn]] void wrong(const std::string& where, const std::string& what) {
  throw refusal{{errc::corrupt, where + " " + what}, true};
}

}  // namespace

json parse_json(std::string_view text, const std::string& where) {
  if (is_nested_too_deep(text)) wrong(where, "is nested too deeply");
  auto parsed = json::parse(text.begin(), text.end(), nullptr, false);
  if (parsed.is_discarded()) wrong(where, "is not valid JSON");
  return parsed;
}

json parse_written_json(std::string_view text, const std::string& where) {
  if (is_nested_too_deep(text)) wrong(where, "is nested too deeply");
  std::vector<std::set<std::string>> keys;
  std::optional<std::string> twice;
  const auto look = [&](int, json::parse_event_t event, json& seen) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(seen.get<std::string>()).second)
      twice = seen.get<std::string>();
    return true;
  };
  auto parsed = json::parse(text.begin(), text.end(), look, false);
  if (parsed.is_discarded()) wrong(where, "is not valid JSON");
  if (twice) wrong(where, "has the key " + *twice + " twice");
  return parsed;
}

void check_keys(const json& object, std::span<const std::string_view> known, const std::string& where) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string all;
    for (const auto each : known) all += (all.empty() ? "" : ", ") + std::string(each);
    wrong(where, "has the key " + key + ", which nothing reads (it may have " + all + ")");
  }
}

const json& at(const json& object, const char* key, const std::string& where) {
  if (!object.is_object()) wrong(where, "is not an object");
  const auto found = object.find(key);
  if (found == object.end()) wrong(where, "lacks the key " + std::string(key));
  return *found;
}

const std::string& string_at(const json& object, const char* key, const std::string& where) {
  const auto& value = at(object, key, where);
  if (!value.is_string()) wrong(where, "has a " + std::string(key) + " that is not a string");
  return as_text(value, where + "." + key);
}

const std::string& as_text(const json& value, const std::string& where) {
  if (!value.is_string()) wrong(where, "is not a string");
  const auto& text = value.get_ref<const std::string&>();
  if (text.find('\0') != std::string::npos) wrong(where, "holds a NUL character");
  return text;
}

const json& array_at(const json& object, const char* key, const std::string& where) {
  const auto& value = at(object, key, where);
  if (!value.is_array()) wrong(where, "has a " + std::string(key) + " that is not an array");
  return value;
}

const json& object_at(const json& object, const char* key, const std::string& where) {
  const auto& value = at(object, key, where);
  if (!value.is_object()) wrong(where, "has a " + std::string(key) + " that is not an object");
  return value;
}

bool boolean_at(const json& object, const char* key, const std::string& where) {
  const auto& value = at(object, key, where);
  if (!value.is_boolean()) wrong(where, "has a " + std::string(key) + " that is not a boolean");
  return value.get<bool>();
}

std::int64_t integer_at(const json& object, const char* key, const std::string& where) {
  return as_integer(at(object, key, where), where + "." + key);
}

std::int64_t as_integer(const json& value, const std::string& where) {
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max())
    wrong(where, "is too large an integer");
  if (!value.is_number_integer()) wrong(where, "is not an integer");
  return value.get<std::int64_t>();
}

double as_real(const json& value, const std::string& where) {
  if (value == "Infinity") return std::numeric_limits<double>::infinity();
  if (value == "-Infinity") return -std::numeric_limits<double>::infinity();
  if (value == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (!value.is_number()) wrong(where, "is not a number");
  return value.get<double>();
}

std::pair<std::string_view, const json&> as_union(const json& value, const std::string& where) {
  if (!value.is_object() || value.size() != 1) wrong(where, "is not a union of one kind");
  return {value.begin().key(), *value.begin()};
}

}  // namespace shoal::executor
