// Passes over the graph that need no LibTorch. (Constants are folded when the program is built, program.cpp.)
// A pass only removes nodes and points readers elsewhere; names stay, so that an error still names the exported node.
#pragma once

#include "worker/executor/graph.hpp"

namespace shoal::worker::executor {

/// Removes what computes nothing: dropout in evaluation, asserts on tensors' metadata, aliases, conversions to the
/// type a value has, slices that keep everything; and copies, if nothing in the graph writes in place.
void drop_no_ops(graph& program);

/// Removes nodes whose results nobody reads. Nodes that write in place or assert stay.
void drop_dead_nodes(graph& program);

}  // namespace shoal::worker::executor
