#include "http/target.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace shoal::http {

namespace {

/// What follows "http://" or "https://", in any case.
std::optional<std::string_view> without_prefix(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() < scheme.size()) continue;
    const bool same = std::equal(scheme.begin(), scheme.end(), target.begin(), [](char wanted, char c) {
      return wanted == (c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c);
    });
    if (same) return target.substr(scheme.size());
  }
  return std::nullopt;
}

}  // namespace

expected<std::string> path_of(std::string_view target) {
  const auto without_scheme = without_prefix(target);
  if (without_scheme) {
    const auto end_of_host = without_scheme->find_first_of("/?#");
    if (end_of_host == 0 || without_scheme->empty())
      return fail(errc::invalid_argument, "the request target is a URL without a host");
    target = end_of_host == std::string_view::npos ? "" : without_scheme->substr(end_of_host);
    if (target.empty() || target.front() != '/') target = "/";
  }
  if (target.empty() || target.front() != '/')
    return fail(errc::invalid_argument, "the request target must be a path that begins with '/'");
  auto encoded = target.substr(0, target.find_first_of("?#"));
  std::string path;
  path.reserve(encoded.size());
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] != '%') {
      path += encoded[i];
      continue;
    }
    unsigned value = 0;
    auto digits = encoded.substr(i + 1, 2);
    auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 2 || parsed.ec != std::errc{} || parsed.ptr != digits.data() + 2)
      return fail(errc::invalid_argument, "in the request target, '%' must be followed by two hexadecimal digits");
    path += static_cast<char>(value);
    i += 2;
  }
  return path;
}

}  // namespace shoal::http
