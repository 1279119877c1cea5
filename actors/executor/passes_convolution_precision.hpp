// The part of passes_precision.hpp that is about convolutions: those fused by passes_convolution.cpp become
// convolutions in int8 or bf16. Images are quantised once for all that read them in one range, by the convolution that
// makes them where that is an int8 one: in the place of its result if nothing else reads it, else beside it. What is
// added to a convolution's result (a residual) stays in fp32: in bytes it would lose a little in each block of a deep
// network.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "executor/graph_uses.hpp"
#include "executor/passes_precision.hpp"

namespace shoal::executor {

/// Nothing: the node is no convolution whose precision can be chosen.
std::optional<choosable_node> choosable_convolution(const graph& in, const graph_uses& uses, const node& each);

/// `nodes` as check_nodes takes them; others in it are left out.
void apply_convolution_precision(graph& program, const std::map<std::string, node_precision>& nodes);

}  // namespace shoal::executor
