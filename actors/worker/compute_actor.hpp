// The one thread that calls LibTorch: loads models, runs batches. Detached, since both block; LibTorch builds a team of
// threads per calling thread, so there is one.
#pragma once

#include <memory>

#include <caf/actor_system.hpp>

#include "core/run_loop.hpp"
#include "protocol/actors.hpp"
#include "worker/device.hpp"
#include "worker/object_source.hpp"

namespace shoal::worker {

/// Each `load` is answered with `loaded`, each `compute` with `computed`, to the worker that sent it, on `loop` (which
/// must outlive the actor). A batch that fails is run again member by member, so that one bad request does not fail the
/// others. Weights come from `objects` where it has them; null: from the archives. Models compute on the device `on`.
protocol::compute_actor spawn_compute(caf::actor_system& system, run_loop& loop,
                                      std::shared_ptr<object_source> objects = nullptr, device on = {});

}  // namespace shoal::worker
