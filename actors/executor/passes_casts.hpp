// A precision plan on devices whose kernels are ATen's (GPUs): the nodes it names compute in bf16 or fp16, between
// casts. What carries or changes numbers one by one (a view, gelu, batch norm, ...) stays in the numbers that it is
// handed, so that a chain is cast once, as under torch.autocast; sums of narrow and fp32 tensors are fp32. Casts of
// weights are folded at load. No LibTorch.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "executor/graph.hpp"
#include "executor/passes_precision.hpp"

namespace shoal::executor {

/// Matrix products, convolutions and attention of fp32 tensors; none in a graph that writes in place.
std::vector<choosable_node> castable_nodes(const graph& after_passes);

/// `nodes` as check_nodes takes them; others in it are left out.
void apply_casts(graph& after_passes, const std::map<std::string, node_precision>& nodes);

}  // namespace shoal::executor
