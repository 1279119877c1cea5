#include "http/target.hpp"

#include <charconv>

namespace shoal::http {

expected<std::string> path_of(std::string_view target) {
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
