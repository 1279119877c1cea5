// Passes over the graph that need no LibTorch. (Constants are folded when the program is built, program.cpp.)
// A pass removes nodes, points readers elsewhere or puts a fused operator (`shoal::`) in a node's place, which the
// program knows once it is registered; names stay, so that an error still names the exported node. The fusing passes
// leave a graph that writes in place as it is.
#pragma once

#include "executor/graph.hpp"

namespace shoal::executor {

/// Removes what computes nothing: dropout in evaluation, asserts on tensors' metadata, aliases, conversions to the
/// type a value has, slices that keep everything; and copies, if nothing in the graph writes in place.
void drop_no_ops(graph& program);

/// Removes nodes whose results nobody reads. Nodes that write in place or assert stay.
void drop_dead_nodes(graph& program);

/// layer_norm of an fp32 tensor, and the addition before it if nothing else reads the sum, as shoal::add_layer_norm.
void fuse_layer_norm(graph& program);

/// scaled_dot_product_attention in fp32 as shoal::attention.
void fuse_attention(graph& program);

/// linear whose fp32 weight is read by linears alone as shoal::packed_linear, after a shoal::pack_linear at the graph's
/// start. Only worth it if constants are folded afterwards: else every run packs.
void pack_linear(graph& program);

/// relu, gelu or silu, then the addition of a tensor of the same shape, into the packed linear before them. After
/// pack_linear.
void fuse_activation(graph& program);
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

}  // namespace shoal::executor
