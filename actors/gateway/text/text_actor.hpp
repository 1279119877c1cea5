// The thread of a gateway that reads text: drives text_state, and hands what it makes of it to the gateway's actor.
#pragma once

#include <memory>

#include <caf/actor_system.hpp>

#include "core/run_loop.hpp"
#include "gateway/text/text_state.hpp"

namespace shoal::gateway {

/// `loop` is the gateway actor's and must outlive this one, as must `figures`.
protocol::text_actor spawn_text(caf::actor_system& system, run_loop& loop, protocol::gateway_actor gateway,
                                text_options options, std::shared_ptr<board> board, metrics& figures);

}  // namespace shoal::gateway
