// The worker as an actor: hands events and the time to worker_state, keeps its timer.
#pragma once

#include <caf/actor_system.hpp>

#include "protocol/actors.hpp"
#include "worker/cache_client.hpp"
#include "worker/worker_state.hpp"

namespace shoal::worker {

/// Loads every model of `models` one after another through `loader` and serves each as soon as it is ready. `link` and
/// `figures` must outlive the actor. Events of caches go to `caches`, if there is one, instead of the mind.
protocol::worker_actor spawn_worker(caf::actor_system& system, protocol::loader_actor loader,
                                    protocol::compute_actor compute, worker_options options, protocol::link& link,
                                    std::vector<protocol::load> models, metrics& figures,
                                    std::shared_ptr<cache_client> caches = nullptr);

}  // namespace shoal::worker
