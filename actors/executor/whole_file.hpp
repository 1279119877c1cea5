// Small files that others read while they are replaced: they see the old one or the new one, whole.
#pragma once

#include <filesystem>
#include <string_view>

#include "core/error.hpp"

namespace shoal::executor {

/// Through a temporary file beside it, readable by all. `synced`: on the disk when this returns. Error: unavailable
/// (cannot be written, and why); nothing is left behind.
expected<void> write_whole(const std::filesystem::path& file, std::string_view text, bool synced);

}  // namespace shoal::executor
