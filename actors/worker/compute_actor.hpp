// The one thread that runs models: keeps them, warms them up, runs batches, frees them. Detached, since it blocks;
// LibTorch builds a team of threads per calling thread, so there is one. (The loader reads models beside it.)
#pragma once

#include <caf/actor_system.hpp>

#include "core/metrics.hpp"
#include "core/run_loop.hpp"
#include "protocol/actors.hpp"
#include "worker/compute_place.hpp"

namespace shoal::worker {

/// Each `adopt` is answered with `loaded`, each `unload` with `unloaded`, each `compute` with `computed`, to the worker
/// that sent it, on `loop` (which must outlive the actor). A batch that fails is run again member by member, so that
/// one bad request does not fail the others.
/// `figures` (null: none) must outlive it, too.
protocol::compute_actor spawn_compute(caf::actor_system& system, run_loop& loop, compute_place place,
                                      metrics* figures = nullptr);

}  // namespace shoal::worker
