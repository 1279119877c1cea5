// The precision service as an actor: hands events and the time to precision_state, keeps its timer.
#pragma once

#include <caf/actor_system.hpp>

#include "precision/precision_state.hpp"
#include "protocol/actors.hpp"

namespace shoal::precision {

/// `link` and `figures` must outlive the actor.
protocol::precision_actor spawn_precision(caf::actor_system& system, protocol::planner_actor planner,
                                          protocol::shelf_actor shelf, precision_options options, protocol::link& link,
                                          metrics& figures);

}  // namespace shoal::precision
