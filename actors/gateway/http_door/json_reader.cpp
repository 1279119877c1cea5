#include "gateway/http_door/json_reader.hpp"

#include <algorithm>
#include <charconv>

#include "text/utf8.hpp"

namespace shoal::gateway::http_door {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

void json_reader::fail(std::string message) {
  if (!error_) error_ = error{errc::invalid_argument, std::move(message)};
}

void json_reader::fail_syntax(std::string_view expected) {
  fail("the JSON is malformed at byte " + std::to_string(at_) + ": expected " + std::string(expected));
}

void json_reader::blanks() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
    ++at_;
}

bool json_reader::take(char c) {
  blanks();
  if (failed() || at_ >= text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

json_reader::kind json_reader::next() {
  blanks();
  if (failed() || at_ >= text_.size()) return kind::nothing;
  switch (text_[at_]) {
    case '{': return kind::object;
    case '[': return kind::array;
    case '"': return kind::string;
    case 't':
    case 'f': return kind::boolean;
    case 'n': return kind::null;
    case '-':
    case 'N':
    case 'I': return kind::number;
    default: return is_digit(text_[at_]) ? kind::number : kind::nothing;
  }
}

bool json_reader::open(char bracket, std::string_view what) {
  if (!take(bracket)) {
    fail_syntax(what);
    return false;
  }
  if (++depth_ > most_nested) fail("the JSON is nested more than " + std::to_string(most_nested) + " deep");
  return !failed();
}

bool json_reader::more(char bracket, bool first) {
  if (failed()) return false;
  if (take(bracket)) {
    --depth_;
    return false;
  }
  if (first || take(',')) return true;
  fail_syntax(bracket == '}' ? "',' or '}'" : "',' or ']'");
  return false;
}

std::string json_reader::string() {
  std::string value;
  if (!take('"')) {
    fail_syntax("a string");
    return value;
  }
  while (at_ < text_.size()) {
    auto stop = at_;
    while (stop < text_.size() && text_[stop] != '"' && text_[stop] != '\\' &&
           static_cast<unsigned char>(text_[stop]) >= 0x20)
      ++stop;
    value.append(text_.substr(at_, stop - at_));
    at_ = stop;
    if (at_ >= text_.size()) break;
    if (text_[at_] == '"') {
      ++at_;
      if (text::first_malformed(value) != value.size())
        fail("the JSON has a string that is not UTF-8, before byte " + std::to_string(at_));
      return failed() ? std::string() : value;
    }
    if (text_[at_] != '\\' || !escape(value)) break;
  }
  fail_syntax("the rest of a string");
  return {};
}

bool json_reader::escape(std::string& to) {
  ++at_;
  if (at_ >= text_.size()) return false;
  static constexpr std::string_view letters = "\"\\/bfnrt";
  static constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
  if (auto found = letters.find(text_[at_]); found != std::string_view::npos) {
    to += meanings[found];
    ++at_;
    return true;
  }
  if (text_[at_] != 'u') return false;
  ++at_;
  auto code = hex4();
  if (!code || (*code >= 0xDC00 && *code < 0xE000)) return false;
  if (*code < 0xD800 || *code >= 0xE000) {
    text::append_utf8(*code, to);
    return true;
  }
  if (text_.substr(at_, 2) != "\\u") return false;
  at_ += 2;
  auto low = hex4();
  if (!low || *low < 0xDC00 || *low >= 0xE000) return false;
  text::append_utf8(0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00), to);
  return true;
}

std::optional<unsigned> json_reader::hex4() {
  auto digits = text_.substr(std::min(at_, text_.size()), 4);
  unsigned value = 0;
  auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.size() != 4 || parsed.ec != std::errc{} || parsed.ptr != digits.data() + 4) return std::nullopt;
  at_ += 4;
  return value;
}

bool json_reader::word(std::string_view expected) {
  if (text_.substr(at_, expected.size()) != expected) return false;
  at_ += expected.size();
  return true;
}

bool json_reader::boolean() {
  blanks();
  if (failed()) return false;
  if (word("true")) return true;
  if (!word("false")) fail_syntax("true or false");
  return false;
}

void json_reader::number() {
  if (!is_digit(text_[at_]) && (word("NaN") || word("Infinity") || word("-Infinity"))) return;
  // On local variables: a request may hold millions of numbers.
  const char* c = text_.data() + at_;
  const char* const end = text_.data() + text_.size();
  auto digits = [&] {
    const auto* from = c;
    while (c != end && is_digit(*c)) ++c;
    return c != from;
  };
  if (*c == '-') ++c;
  const auto* first = c;
  bool good = digits() && (*first != '0' || c == first + 1);
  if (good && c != end && *c == '.') {
    ++c;
    good = digits();
  }
  if (good && c != end && (*c == 'e' || *c == 'E')) {
    ++c;
    if (c != end && (*c == '+' || *c == '-')) ++c;
    good = digits();
  }
  at_ = static_cast<std::size_t>(c - text_.data());
  if (!good) fail_syntax("a number");
}

std::optional<std::int64_t> json_reader::integer() {
  if (next() != kind::number) {
    skip();
    return std::nullopt;
  }
  auto digits = skip();
  std::int64_t value = 0;
  auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (failed() || parsed.ec != std::errc{} || parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::string_view json_reader::skip() {
  auto what = next();
  auto from = at_;
  switch (what) {
    case kind::object: object([this](std::string_view) { skip(); }); break;
    case kind::array: array([this] { skip(); }); break;
    case kind::string: string(); break;
    case kind::number: number(); break;
    case kind::boolean: boolean(); break;
    case kind::null:
      if (!word("null")) fail_syntax("null");
      break;
    case kind::nothing: fail_syntax("a value"); break;
  }
  return failed() ? std::string_view() : text_.substr(from, at_ - from);
}

void json_reader::end() {
  blanks();
  if (at_ != text_.size()) fail_syntax("the end");
}

}  // namespace shoal::gateway::http_door
