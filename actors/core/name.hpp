// The names that people give: of models, keys and tokens. One rule, so that a name is never a path, and fits into
// addresses, labels of metrics and headers as it is.
#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"

namespace shoal {

/// [A-Za-z0-9._-]{1,64}, not beginning with a dot.
constexpr bool is_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > 64 || name.front() == '.') return false;
  for (const char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
          c == '-'))
      return false;
  return true;
}

/// Error: invalid_argument, which says how `whose` ("a model's", or "a" alone) name has to be.
inline expected<void> check_name(std::string_view whose, std::string_view name) {
  if (is_name(name)) return {};
  return fail(errc::invalid_argument, std::string(whose) +
                                          " name is 1 to 64 of the characters A-Z a-z 0-9 . _ - and does not begin "
                                          "with a dot");
}

}  // namespace shoal
