// Passes over the graph that need no LibTorch. (Constants are folded when the program is built, program.cpp.)
// A pass removes nodes, points readers elsewhere or puts a fused operator in a node's place; names stay, so that an
// error still names the exported node. The fusing passes leave a graph that writes in place as it is.
#pragma once

#include "worker/executor/graph.hpp"

namespace shoal::worker::executor {

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

}  // namespace shoal::worker::executor
