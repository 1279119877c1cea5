// Passes over the graph that need no LibTorch. (Constants are folded when the program is built, program.cpp.)
// A pass removes nodes and points readers elsewhere, or puts operators of ours (`shoal::`) in their place, which the
// program knows once they are registered; names stay, so that an error still names the exported node.
#pragma once

#include "worker/executor/graph.hpp"

namespace shoal::worker::executor {

/// Removes what computes nothing: dropout in evaluation, asserts on tensors' metadata, aliases, conversions to the
/// type a value has, slices that keep everything; and copies, if nothing in the graph writes in place.
void drop_no_ops(graph& program);

/// Removes nodes whose results nobody reads. Nodes that write in place or assert stay.
void drop_dead_nodes(graph& program);

/// Turns operators that write in place (`relu_`, `add_`, ...) into those that do not, where what they write to was made
/// by a node for itself and no view of it is around; readers after the write read the new value. The passes below, and
/// folding, leave graphs alone in which a write remains. (passes_functional.cpp)
void functionalise(graph& program);

/// Batch norm in evaluation after a 2-d fp32 convolution with constant weights, the convolution's only reader, becomes
/// part of its weight and bias. Meant to be followed by folding, which computes them once. (passes_convolution.cpp)
void fold_batch_norms(graph& program);

/// 2-d fp32 convolutions with constant weights become oneDNN's, in channels last, and take in the activation or the sum
/// with a tensor of the same shape (and a relu after it) that alone reads them. `pack`: weights in oneDNN's private
/// packing, by nodes that folding computes once. CPU only. (passes_convolution.cpp)
void fuse_convolutions(graph& program, bool pack);

}  // namespace shoal::worker::executor
