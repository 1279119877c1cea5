// Models as people type them.
#pragma once

#include <string>
#include <utility>

#include "core/error.hpp"

namespace shoal::services {

/// "name" (version 0) or "name/version". Errors: invalid_argument (a name that is none, a version that is no whole
/// number from 1).
expected<std::pair<std::string, std::uint64_t>> read_model_name(const std::string& text);

}  // namespace shoal::services
