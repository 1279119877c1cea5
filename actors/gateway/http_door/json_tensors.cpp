#include "gateway/http_door/json_tensors.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace shoal::gateway::http_door {

namespace {

tl::unexpected<error> invalid(std::string_view where, std::string_view what) {
  return fail(errc::invalid_argument, std::string(where).append(": ").append(what));
}

template <class T>
std::optional<T> read_integer(std::string_view token) {
  T value{};
  auto parsed = std::from_chars(token.data(), token.data() + token.size(), value);
  if (parsed.ec != std::errc{} || parsed.ptr != token.data() + token.size()) return std::nullopt;
  return value;
}

template <class T>
std::optional<T> read_float(std::string_view token) {
  T value{};
  auto parsed = std::from_chars(token.data(), token.data() + token.size(), value);
  if (parsed.ptr != token.data() + token.size()) return std::nullopt;
  if (parsed.ec == std::errc{}) return value;
  // Out of range: too large is refused, too small is the nearest there is.
  auto wide = std::strtod(std::string(token).c_str(), nullptr);
  auto narrow = static_cast<T>(wide);
  if (std::isinf(narrow)) return std::nullopt;
  return narrow;
}

template <class T>
std::optional<T> read_scalar(std::string_view token) {
  if constexpr (std::is_same_v<T, bool>) {
    if (token == "true") return true;
    if (token == "false") return false;
    return std::nullopt;
  } else if constexpr (std::is_floating_point_v<T>) {
    return read_float<T>(token);
  } else {
    return read_integer<T>(token);
  }
}

/// Calls `on_scalar(token)` for every element; it returns false to stop. `text` is a well-formed JSON array. Checks
/// that the nesting is flat or exactly as `dims` says, and the number of elements.
class array_walk {
 public:
  array_walk(std::string_view text, dtype type, const shape& dims, std::uint64_t count)
      : text_(text), type_(type), dims_(dims), count_(count), nested_(dims.size() > 1 && begins_nested(text)) {}

  /// What is wrong with the array, or nothing.

  template <class OnScalar>
  std::optional<std::string> run(OnScalar&& on_scalar) {
    for (std::size_t i = 0; i < text_.size();) {
      switch (text_[i]) {
        case ' ':
        case '\n':
        case '\t':
        case '\r':
        case ',': ++i; break;
        case '[':
          if (!enter()) return "the nesting does not match the shape " + to_string(dims_);
          ++i;
          break;
        case ']':
          if (!leave()) return "the nested arrays do not have the sizes of the shape " + to_string(dims_);
          ++i;
          break;
        default: {
          auto token = token_at(i);
          if ((nested_ && depth_ != dims_.size()) || seen_ == count_) return mismatch();
          if (!on_scalar(token)) return no_value(token);
          ++seen_;
          ++sizes_[depth_];
          i += token.size();
        }
      }
    }
    if (seen_ != count_) return mismatch();
    return std::nullopt;
  }

 private:
  static bool begins_nested(std::string_view text) {
    auto second = text.find_first_not_of(" \n\t\r", 1);
    return second != std::string_view::npos && text[second] == '[';
  }

  bool enter() {
    auto deepest = nested_ ? dims_.size() : 1;
    if (depth_ == deepest) return false;
    sizes_[++depth_] = 0;
    return true;
  }

  bool leave() {
    if (nested_ && sizes_[depth_] != static_cast<std::uint64_t>(dims_[depth_ - 1])) return false;
    ++sizes_[--depth_];
    return true;
  }

  static bool ends_token(char c) { return c == ',' || c == ']' || c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

  [[nodiscard]] std::string_view token_at(std::size_t from) const {
    // A string may hold what ends a token; it is refused anyway, so where it ends does not matter.
    auto end = from;
    while (end < text_.size() && !ends_token(text_[end])) ++end;
    return text_.substr(from, end - from);
  }

  [[nodiscard]] std::string no_value(std::string_view token) const {
    return "element " + std::to_string(seen_) + " is " + std::string(token.substr(0, 40)) +
           (token.size() > 40 ? "..." : "") + ", which is no value of " + std::string(name_of(type_));
  }

  [[nodiscard]] std::string mismatch() const {
    return "the shape " + to_string(dims_) + " needs exactly " + std::to_string(count_) + " elements";
  }

  std::string_view text_;
  dtype type_;
  const shape& dims_;
  std::uint64_t count_;
  bool nested_;
  std::uint64_t seen_ = 0;
  std::size_t depth_ = 0;
  std::array<std::uint64_t, max_rank + 1> sizes_{};
};

template <class T>
expected<buffer> read_all(std::string_view text, dtype type, const shape& dims, std::uint64_t count,
                          std::string_view where) {
  std::optional<std::string> wrong;
  auto data = buffer::make(count * sizeof(T), [&](std::byte* to) {
    wrong = array_walk(text, type, dims, count).run([&to](std::string_view token) {
      auto value = read_scalar<T>(token);
      if (!value) return false;
      std::memcpy(to, &*value, sizeof(T));
      to += sizeof(T);
      return true;
    });
  });
  if (wrong) return invalid(where, *wrong);
  return data;
}

/// Calls `use` with a value of the type that holds elements of `type`.
template <class Use>
auto with_element_type(dtype type, Use&& use) {
  switch (type) {
    case dtype::boolean: return use(bool{});
    case dtype::uint8: return use(std::uint8_t{});
    case dtype::uint16: return use(std::uint16_t{});
    case dtype::uint32: return use(std::uint32_t{});
    case dtype::uint64: return use(std::uint64_t{});
    case dtype::int8: return use(std::int8_t{});
    case dtype::int16: return use(std::int16_t{});
    case dtype::int32: return use(std::int32_t{});
    case dtype::int64: return use(std::int64_t{});
    case dtype::fp64: return use(double{});
    case dtype::fp32:
    case dtype::fp16:
    case dtype::bf16:
    case dtype::bytes: break;
  }
  return use(float{});
}

template <class T>
void append_scalar(std::string& to, T value) {
  if constexpr (std::is_same_v<T, bool>) {
    to += value ? "true" : "false";
  } else {
    if constexpr (std::is_floating_point_v<T>) {
      if (!std::isfinite(value)) {
        to += std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
        return;
      }
    }
    std::array<char, 32> digits;
    to.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
  }
}

}  // namespace

std::string_view why_not_json(dtype type) noexcept {
  switch (type) {
    case dtype::fp16: return "FP16 travels as binary data only, not as JSON";
    case dtype::bf16: return "BF16 travels as binary data only, not as JSON";
    case dtype::bytes:
      return "BYTES is taken by no model here: exported graphs compute on numbers only (text: /v1/embeddings)";
    default: return {};
  }
}

expected<buffer> elements_of(std::string_view text, dtype type, const shape& dims, std::string_view where) {
  if (auto reason = why_not_json(type); !reason.empty()) return invalid(where, reason);
  if (!text.starts_with('[')) return invalid(where, "must be an array");
  auto count = element_count(dims);
  if (!count) return invalid(where, count.error().message);
  // "[1,2,3]": every element takes a character and a separator or bracket.
  if (*count != 0 && *count > (text.size() - 1) / 2)
    return invalid(where, "the shape " + to_string(dims) + " needs exactly " + std::to_string(*count) + " elements");
  return with_element_type(type,
                           [&](auto sample) { return read_all<decltype(sample)>(text, type, dims, *count, where); });
}

void append_elements(std::string& to, dtype type, std::span<const std::byte> bytes) {
  with_element_type(type, [&](auto value) {
    to += '[';
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(value)) {
      if (at != 0) to += ',';
      if constexpr (std::is_same_v<decltype(value), bool>)
        value = bytes[at] != std::byte{0};
      else
        std::memcpy(&value, bytes.data() + at, sizeof(value));
      append_scalar(to, value);
    }
    to += ']';
  });
}

}  // namespace shoal::gateway::http_door
