// Asks a service that runs whether it is ready: what `--is-ready` of each executable does, so that a container's health
// check needs no other program.
#pragma once

#include <string>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace shoal::services {

/// GET /health/ready at `address`, HOST:PORT of the service's metrics. Errors: invalid_argument (not an address),
/// unavailable (nobody answers within that time, or it is not ready).
expected<void> ask_readiness(const std::string& address, milliseconds within);

}  // namespace shoal::services
