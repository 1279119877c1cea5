// The thread that plans: one order after the other, on processor time that nobody else wants (SCHED_IDLE). And the
// thread that reads and writes plans' files, so that neither planning nor a slow disk keeps the other waiting.
#pragma once

#include <filesystem>

#include <caf/actor_system.hpp>

#include "core/run_loop.hpp"
#include "executor/device.hpp"
#include "protocol/actors.hpp"

namespace shoal::precision {

/// `models` is the model directory; `threads`: compute threads of one operator, as the workers have; `on`: where it
/// measures, which is ready (executor::prepare_device). Both answer who sent the order on `loop`, which must outlive
/// them.
protocol::planner_actor spawn_planner(caf::actor_system& system, run_loop& loop, std::filesystem::path models,
                                      int threads, const executor::device& on);
protocol::shelf_actor spawn_shelf(caf::actor_system& system, run_loop& loop, std::filesystem::path models);

}  // namespace shoal::precision
