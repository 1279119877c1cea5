// The request a gateway sends itself when there is no traffic, to know that the mesh can still infer.
#pragma once

#include "protocol/messages.hpp"

namespace shoal::gateway {

/// Zeros of the smallest shape the model takes (free dimensions at least 1). Large fixed inputs are as large as they
/// are.
protocol::infer probe_of(const protocol::model_spec& spec);

}  // namespace shoal::gateway
