// How many files and connections this process may have open. The soft limit (often 1024) is for programs that use
// select(); nothing here does, so it is raised to the hard one, as init systems expect (systemd.exec, LimitNOFILE).
#pragma once

#include <cstdint>

namespace shoal::services {

/// Raises the soft limit as far as it may be, and returns what it is then.
std::uint64_t raise_descriptor_limit();

}  // namespace shoal::services
