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
#include "worker/object_source.hpp"

namespace shoal::worker {

/// Each `lookup` in the directory `models` is answered with `found`. Each `load` ends as `loaded` at the worker that
/// sent it: from here if it failed, else from `compute`. Answers are sent on `loop`, which must outlive the actor.
/// `threads` are the compute thread's: what is chosen at load depends on how many will run it. Weights come from
/// `objects` where it has them; null: from the archives.
protocol::loader_actor spawn_loader(caf::actor_system& system, run_loop& loop, protocol::compute_actor compute,
                                    std::filesystem::path models, int threads,
                                    std::shared_ptr<object_source> objects = nullptr);

}  // namespace shoal::worker
