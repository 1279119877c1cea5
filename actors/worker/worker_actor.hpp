// The worker as an actor: hands events and the time to worker_state, keeps its timer, and owns the compute actor.
#pragma once

#include <filesystem>

#include <caf/actor_system.hpp>

#include "core/run_loop.hpp"
#include "protocol/actors.hpp"
#include "worker/worker_state.hpp"

namespace shoal::worker {

/// Loads every model of `models` one after another and serves each as soon as it is ready. Answers of the compute
/// thread reach the actor on `loop`. `loop`, `link` and `figures` must outlive the actor.
protocol::worker_actor spawn_worker(caf::actor_system& system, run_loop& loop, worker_options options,
                                    protocol::link& link, std::vector<protocol::load> models, metrics& figures);

}  // namespace shoal::worker
