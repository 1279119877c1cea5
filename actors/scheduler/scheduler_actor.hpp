// The scheduler as an actor: hands events and the time to scheduler_state, and keeps its timer.
#pragma once

#include <caf/actor_system.hpp>

#include "protocol/actors.hpp"
#include "scheduler/scheduler_state.hpp"

namespace shoal::scheduler {

/// `link` and `figures` must outlive the actor.
protocol::scheduler_actor spawn_scheduler(caf::actor_system& system, scheduler_options options, protocol::link& link,
                                          metrics& figures);

}  // namespace shoal::scheduler
