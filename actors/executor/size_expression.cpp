#include "executor/size_expression.hpp"

#include <charconv>

namespace shoal::executor {

namespace {

constexpr int deepest = 16;

struct parser {
  std::string_view left;

  bool take(std::string_view token) {
    if (!left.starts_with(token)) return false;
    left.remove_prefix(token.size());
    return true;
  }

  std::optional<std::int64_t> integer() {
    std::int64_t number = 0;
    const auto [end, failure] = std::from_chars(left.data(), left.data() + left.size(), number);
    if (failure != std::errc()) return std::nullopt;
    left.remove_prefix(static_cast<std::size_t>(end - left.data()));
    return number;
  }

  /// Symbol('s23', positive=True, integer=True), after "Symbol(".
  std::optional<size_expression> symbol() {
    if (!take("'")) return std::nullopt;
    const auto quote = left.find('\'');
    const auto close = left.find(')');
    if (quote == std::string_view::npos || close == std::string_view::npos || close < quote) return std::nullopt;
    size_expression result;
    result.scale = 1;
    result.symbol = left.substr(0, quote);
    left.remove_prefix(close + 1);
    return result;
  }

  std::optional<size_expression> expression(int depth) {
    if (depth > deepest) return std::nullopt;
    if (take("Integer(")) {
      const auto number = integer();
      if (!number || !take(")")) return std::nullopt;
      size_expression result;
      result.offset = *number;
      return result;
    }
    if (take("Symbol(")) return symbol();
    const bool sum = take("Add(");
    if (!sum && !take("Mul(")) return std::nullopt;
    auto result = expression(depth + 1);
    while (result && take(", ")) {
      const auto next = expression(depth + 1);
      if (!next) return std::nullopt;
      result = sum ? add(*result, *next) : multiply(*result, *next);
    }
    return take(")") ? result : std::nullopt;
  }

  static std::optional<size_expression> add(size_expression a, const size_expression& b) {
    if (!a.symbol.empty() && !b.symbol.empty() && a.symbol != b.symbol) return std::nullopt;
    if (a.symbol.empty()) a.symbol = b.symbol;
    if (__builtin_add_overflow(a.scale, b.scale, &a.scale) || __builtin_add_overflow(a.offset, b.offset, &a.offset))
      return std::nullopt;
    return a;
  }

  static std::optional<size_expression> multiply(size_expression a, const size_expression& b) {
    if (!a.symbol.empty() && !b.symbol.empty()) return std::nullopt;
    if (a.symbol.empty()) return b.symbol.empty() ? scaled(a, b.offset) : scaled(b, a.offset);
    return scaled(a, b.offset);
  }

  static std::optional<size_expression> scaled(size_expression a, std::int64_t factor) {
    if (__builtin_mul_overflow(a.scale, factor, &a.scale) || __builtin_mul_overflow(a.offset, factor, &a.offset))
      return std::nullopt;
    return a;
  }
};

}  // namespace

size_expression parse_size(std::string_view text) {
  parser reading{text};
  auto parsed = reading.expression(0);
  if (parsed && reading.left.empty()) {
    if (parsed->scale == 0) parsed->symbol.clear();
    return *parsed;
  }
  size_expression opaque;
  opaque.linear = false;
  opaque.text = text;
  return opaque;
}

}  // namespace shoal::executor
