// The cache as an actor: hands events and the time to cache_state, keeps its timer.
#pragma once

#include <caf/actor_system.hpp>

#include "cache/cache_state.hpp"
#include "cache/storage.hpp"
#include "protocol/actors.hpp"

namespace shoal::cache {

/// `link` and `figures` must outlive the actor. `tiers` were opened; what they hold is taken over.
protocol::cache_actor spawn_cache(caf::actor_system& system, protocol::storage_actor storage_thread,
                                  std::shared_ptr<storage> tiers, cache_options options, protocol::link& link,
                                  metrics& figures);

}  // namespace shoal::cache
