// The gateway as an actor: hands events and the time to gateway_state, and keeps its timer.
#pragma once

#include <memory>

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "core/run_loop.hpp"
#include "gateway/front.hpp"
#include "gateway/gateway_state.hpp"
#include "protocol/actors.hpp"

namespace shoal::gateway {

/// `link` and `figures` must outlive the actor.
protocol::gateway_actor spawn_gateway(caf::actor_system& system, gateway_options options, protocol::link& link,
                                      std::shared_ptr<board> board, metrics& figures);

/// The doors' way to the actor. Outcomes are told on the actor's thread.
std::unique_ptr<front> make_front(run_loop& loop, protocol::gateway_actor actor, std::shared_ptr<board> board);

}  // namespace shoal::gateway
