#include "core/config.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <toml++/toml.h>

namespace shoal {

namespace {

std::string kind_of(const config::target& field) {
  struct {
    std::string operator()(std::string*) const { return "a string"; }
    std::string operator()(bool*) const { return "true or false"; }
    std::string operator()(int*) const { return "an integer, 0 or more"; }
    std::string operator()(std::size_t*) const { return "an integer, 0 or more"; }
    std::string operator()(double*) const { return "a number"; }
    std::string operator()(milliseconds*) const { return "a number of milliseconds, 0 or more"; }
    std::string operator()(std::vector<std::string>*) const { return "a list of strings"; }
  } name;
  return std::visit(name, field);
}

bool assign_integer(const config::target& field, std::int64_t value) {
  if (value < 0) return false;
  if (auto* number = std::get_if<int*>(&field)) {
    if (value > std::numeric_limits<int>::max()) return false;
    **number = static_cast<int>(value);
  } else if (auto* size = std::get_if<std::size_t*>(&field)) {
    **size = static_cast<std::size_t>(value);
  } else if (auto* time = std::get_if<milliseconds*>(&field)) {
    if (value > std::int64_t{1000} * 3600 * 24 * 365) return false;
    **time = milliseconds(value);
  } else {
    return false;
  }
  return true;
}

/// A value given as text: environment and command line. Lists are separated by commas.
bool assign_text(const config::target& field, const std::string& text) {
  if (auto* string = std::get_if<std::string*>(&field)) {
    **string = text;
    return true;
  }
  if (auto* flag = std::get_if<bool*>(&field)) {
    if (text != "true" && text != "false") return false;
    **flag = text == "true";
    return true;
  }
  if (auto* list = std::get_if<std::vector<std::string>*>(&field)) {
    (*list)->clear();
    std::stringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');)
      if (!part.empty()) (*list)->push_back(part);
    return true;
  }
  if (auto* number = std::get_if<double*>(&field)) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), **number);
    return failed == std::errc{} && end == text.data() + text.size();
  }
  std::int64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failed == std::errc{} && end == text.data() + text.size() && assign_integer(field, value);
}

bool assign_node(const config::target& field, const toml::node& node) {
  if (auto* string = std::get_if<std::string*>(&field)) {
    if (!node.is_string()) return false;
    **string = node.as_string()->get();
    return true;
  }
  if (auto* flag = std::get_if<bool*>(&field)) {
    if (!node.is_boolean()) return false;
    **flag = node.as_boolean()->get();
    return true;
  }
  if (auto* list = std::get_if<std::vector<std::string>*>(&field)) {
    if (!node.is_array() || (!node.as_array()->empty() && !node.as_array()->is_homogeneous<std::string>()))
      return false;
    (*list)->clear();
    for (const auto& item : *node.as_array()) (*list)->push_back(item.as_string()->get());
    return true;
  }
  if (auto* number = std::get_if<double*>(&field)) {
    if (!node.is_number()) return false;
    **number = node.is_integer() ? static_cast<double>(node.as_integer()->get()) : node.as_floating_point()->get();
    return true;
  }
  return node.is_integer() && assign_integer(field, node.as_integer()->get());
}

std::string at(const std::string& file, const toml::source_position& position) {
  return file + ":" + std::to_string(position.line) + ":" + std::to_string(position.column) + ": ";
}

std::string variable_of(std::string_view section, std::string_view key) {
  std::string name = "SHOAL_" + std::string(section) + "_" + std::string(key);
  for (auto& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, substituted}));
    }
  }
  return row.back();
}

/// A TOML basic string.
std::string quoted(const std::string& value) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text = "\"";
  for (const char c : value) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      text += {'\\', c};
    else if (code < 0x20 || code == 0x7f)
      text += {'\\', 'u', '0', '0', digits[code >> 4], digits[code & 15]};
    else
      text += c;
  }
  return text + "\"";
}

std::string quoted_list(const std::vector<std::string>& values) {
  std::string text = "[";
  for (const auto& value : values) text += (text.size() > 1 ? ", " : "") + quoted(value);
  return text + "]";
}

}  // namespace

config& config::key(std::string section, std::string key, target field, std::string meaning) {
  entries_.push_back({std::move(section), std::move(key), field, std::move(meaning)});
  return *this;
}

config& config::leave(std::string section) {
  left_.push_back(std::move(section));
  return *this;
}

config::entry* config::find(std::string_view section, std::string_view key) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const entry& e) { return e.section == section && e.key == key; });
  return found == entries_.end() ? nullptr : &*found;
}

/// "; did you mean …?" for a name that does not exist.
std::string config::nearest(std::string_view section, std::string_view key) const {
  const auto wanted = std::string(section) + "." + std::string(key);
  const entry* best = nullptr;
  auto best_distance = wanted.size() / 2 + 1;
  for (const auto& entry : entries_) {
    const auto distance = edit_distance(wanted, entry.section + "." + entry.key);
    if (distance < best_distance) best = &entry, best_distance = distance;
  }
  return best == nullptr ? "" : "; did you mean " + best->section + "." + best->key + "?";
}

expected<void> config::load(const std::string& file, const std::vector<std::string>& overrides) {
  if (!file.empty())
    if (auto read = load_file(file); !read) return read;
  if (auto read = load_environment(); !read) return read;
  for (const auto& assignment : overrides)
    if (auto done = override_with(assignment); !done) return done;
  return {};
}

expected<void> config::load_file(const std::string& file) {
  // A folder reads as an empty file.
  if (std::error_code problem; std::filesystem::is_directory(file, problem))
    return fail(errc::not_found, "cannot read " + file + ": it is a folder, not a TOML file");
  toml::table table;
  try {
    table = toml::parse_file(file);
  } catch (const toml::parse_error& problem) {
    if (problem.source().begin.line == 0)
      return fail(errc::not_found, "cannot read " + file + ": " + std::string(problem.description()));
    return fail(errc::invalid_argument, at(file, problem.source().begin) + std::string(problem.description()));
  }
  for (const auto& [section, content] : table) {
    const std::string_view section_name = section;
    if (!content.is_table())
      return fail(errc::invalid_argument, at(file, content.source().begin) + "'" + std::string(section_name) +
                                              "' stands outside a section such as [gateway]");
    if (std::find(left_.begin(), left_.end(), section_name) != left_.end()) continue;
    for (const auto& [key, value] : *content.as_table()) {
      const std::string_view key_name = key;
      auto* entry = find(section_name, key_name);
      const auto title = std::string(section_name) + "." + std::string(key_name);
      if (entry == nullptr)
        return fail(errc::invalid_argument,
                    at(file, value.source().begin) + "there is no key " + title + nearest(section_name, key_name));
      if (!assign_node(entry->field, value))
        return fail(errc::invalid_argument,
                    at(file, value.source().begin) + title + " must be " + kind_of(entry->field));
    }
  }
  return {};
}

expected<void> config::load_environment() {
  for (const auto& entry : entries_) {
    const auto name = variable_of(entry.section, entry.key);
    const char* value = std::getenv(name.c_str());
    if (value != nullptr && !assign_text(entry.field, value))
      return fail(errc::invalid_argument,
                  "environment variable " + name + "=" + value + ": must be " + kind_of(entry.field));
  }
  return {};
}

expected<void> config::override_with(const std::string& assignment) {
  const auto equals = assignment.find('=');
  const auto dot = assignment.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot > equals)
    return fail(errc::invalid_argument, "--set " + assignment + ": write section.key=value");
  const auto section = assignment.substr(0, dot);
  const auto key = assignment.substr(dot + 1, equals - dot - 1);
  auto* entry = find(section, key);
  if (entry == nullptr)
    return fail(errc::invalid_argument, "--set " + assignment + ": there is no such key" + nearest(section, key));
  if (!assign_text(entry->field, assignment.substr(equals + 1)))
    return fail(errc::invalid_argument, "--set " + assignment + ": must be " + kind_of(entry->field));
  return {};
}

std::string config::to_toml() const {
  struct {
    std::string operator()(const std::string* v) const { return quoted(*v); }
    std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
    std::string operator()(const int* v) const { return std::to_string(*v); }
    std::string operator()(const std::size_t* v) const { return std::to_string(*v); }
    std::string operator()(const double* v) const {
      std::array<char, 32> text{};
      const auto [end, failed] = std::to_chars(text.data(), text.data() + text.size(), *v);
      return {text.data(), end};
    }
    std::string operator()(const milliseconds* v) const { return std::to_string(v->count()); }
    std::string operator()(const std::vector<std::string>* v) const { return quoted_list(*v); }
  } text;
  std::vector<std::string> sections;  // as they were first named: TOML wants each once
  for (const auto& entry : entries_)
    if (std::find(sections.begin(), sections.end(), entry.section) == sections.end()) sections.push_back(entry.section);
  std::string out;
  for (const auto& section : sections) {
    out += (out.empty() ? "[" : "\n[") + section + "]\n";
    for (const auto& entry : entries_)
      if (entry.section == section)
        out += "# " + entry.meaning + "\n" + entry.key + " = " + std::visit(text, entry.field) + "\n";
  }
  return out;
}

}  // namespace shoal
