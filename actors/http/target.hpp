// The request target (RFC 9112, 3.2), made safe to route by.
#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"

namespace shoal::http {

/// The path of `target`, percent-decoded, without its query. A whole URL ("http://host/path", as to a proxy) is taken
/// as its path, since every server must. Errors: invalid_argument for anything else that is no absolute path, and for
/// percent signs that two hexadecimal digits do not follow.
expected<std::string> path_of(std::string_view target);

}  // namespace shoal::http
