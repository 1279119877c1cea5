// The scheduler as an actor: hands events and the time to scheduler_state, and keeps its timer.
#pragma once

#include <memory>

#include <caf/actor_system.hpp>

#include "protocol/actors.hpp"
#include "scheduler/scheduler_state.hpp"

namespace shoal::scheduler {

/// `link` and `figures` must outlive the actor. `profiles`: where measured times are kept; null: nowhere.
protocol::scheduler_actor spawn_scheduler(caf::actor_system& system, scheduler_options options, protocol::link& link,
                                          metrics& figures, std::shared_ptr<profile_store> profiles = nullptr);

}  // namespace shoal::scheduler
