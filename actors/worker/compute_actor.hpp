// The one thread that calls LibTorch: loads models, runs batches. Detached, since both block; LibTorch builds a team of
// threads per calling thread, so there is one.
#pragma once

#include <functional>
#include <variant>

#include <caf/actor_system.hpp>

#include "protocol/actors.hpp"

namespace shoal::worker {

using compute_answer = std::variant<protocol::loaded, protocol::computed>;

/// `answer` is called on the compute thread with each result. A batch that fails is run again member by member, so that
/// one bad request does not fail the others.
protocol::compute_actor spawn_compute(caf::actor_system& system, std::function<void(compute_answer)> answer);

}  // namespace shoal::worker
