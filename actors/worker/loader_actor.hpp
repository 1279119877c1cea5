// Reads models while others are served: parsing, mapping, folding and packing take up to seconds, so they happen on a
// thread of their own. What is loaded is handed to the compute thread, which warms it up and keeps it.
//
// Detached, since reading blocks. It owns nothing: a model belongs to this thread until it is handed over, then to the
// compute thread alone. Folding constants runs operators here, too.
#pragma once

#include <filesystem>
#include <memory>

#include <caf/actor_system.hpp>

#include "core/run_loop.hpp"
#include "protocol/actors.hpp"
#include "worker/served_model.hpp"

namespace shoal::worker {

/// Each `lookup` in the directory `models` is answered with `found`. Each `load` ends as `loaded` at the worker that
/// sent it: from here if it failed, else from `compute`. Answers are sent on `loop`, which must outlive the actor.
protocol::loader_actor spawn_loader(caf::actor_system& system, run_loop& loop, protocol::compute_actor compute,
                                    std::filesystem::path models, loading how);

}  // namespace shoal::worker
