// The request target (RFC 9112, 3.2), made safe to route by.
#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"

namespace shoal::http {

/// The path of `target`, percent-decoded, without its query. Errors: invalid_argument for anything but an absolute
/// path, and for percent signs that two hexadecimal digits do not follow.
expected<std::string> path_of(std::string_view target);

}  // namespace shoal::http
