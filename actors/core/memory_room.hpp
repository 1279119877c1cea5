// How much memory this process may still take: what is free on the machine, or what its control group leaves it.
#pragma once

#include <cstdint>

namespace shoal {

/// Bytes; the largest number if nothing can be found out.
std::uint64_t available_memory();

}  // namespace shoal
