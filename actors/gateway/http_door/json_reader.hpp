// A pull parser over one JSON text (RFC 8259). A request's numbers may be megabytes: here they go from the text
// straight to where they belong, without a tree of values that takes many times the memory of what a stranger sent.
//
// Errors are sticky: after the first one every call does nothing and returns an empty value, so a caller checks once,
// at the end. Strings are checked to be UTF-8; nesting is bounded. NaN, Infinity and -Infinity are taken for numbers,
// which is what Triton and its clients write.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace shoal::gateway::http_door {

class json_reader {
 public:
  static constexpr int most_nested = 32;

  explicit json_reader(std::string_view text) : text_(text) {}

  enum class kind { object, array, string, number, boolean, null, nothing };

  /// Of the value that comes next; `nothing` at the end, before what is no value, and after an error.
  kind next();

  /// `on_member(std::string_view name)` must take the member's value, by whatever call.
  template <class OnMember>
  void object(OnMember&& on_member) {
    if (!open('{', "an object")) return;
    for (bool first = true; more('}', first); first = false) {
      auto name = string();
      if (!take(':')) return fail_syntax("':'");
      if (failed()) return;
      on_member(std::string_view(name));
    }
  }

  /// `on_element()` must take the element, by whatever call.
  template <class OnElement>
  void array(OnElement&& on_element) {
    if (!open('[', "an array")) return;
    for (bool first = true; more(']', first); first = false) on_element();
  }

  std::string string();
  bool boolean();
  /// The number that comes next if it is written as an integer and fits; nothing (and no error) otherwise.
  std::optional<std::int64_t> integer();
  /// Takes any value and returns its text.
  std::string_view skip();
  /// Nothing but blanks may follow.
  void end();

  void fail(std::string message);
  [[nodiscard]] bool failed() const noexcept { return error_.has_value(); }
  /// The first error, with code invalid_argument.
  [[nodiscard]] const error& failure() const { return *error_; }

 private:
  void blanks();
  bool take(char c);
  bool open(char bracket, std::string_view what);
  bool more(char bracket, bool first);
  bool word(std::string_view expected);
  void number();
  bool escape(std::string& to);
  std::optional<unsigned> hex4();
  void fail_syntax(std::string_view expected);

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::optional<error> error_;
};

}  // namespace shoal::gateway::http_door
