// A precision plan put into a graph, after the other passes: packed linears and fused convolutions become those of
// narrower numbers; where kernels are ATen's, operators are put between casts (passes_casts.hpp). No LibTorch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "executor/graph.hpp"
#include "executor/precision_plan.hpp"

namespace shoal::executor {

/// A node whose precision can be chosen: a packed linear, attention of ours, a fused convolution without groups; or
/// what castable_nodes says.
struct choosable_node {
  std::string name;
  std::int64_t columns = 0;        ///< of a linear; channels of a convolution's result; 0: it is neither
  std::int64_t inner = 0;          ///< likewise; products of each element of the result
  value_id input = 0;              ///< of rows; of queries; of images
  std::optional<value_id> weight;  ///< the stored tensor of a linear, [columns, inner]; nothing: there is none
  std::vector<precision> precisions;
  bool takes_range = false;  ///< a convolution: no smoothing, but an input_range

  [[nodiscard]] bool can(precision which) const {
    return std::find(precisions.begin(), precisions.end(), which) != precisions.end();
  }
};

/// How a plan changes a graph.
enum class narrowing : std::uint8_t {
  own_kernels,  ///< on CPUs: what passes made ours (pass_options::own_kernels)
  casts,        ///< without those, as on GPUs
};

std::vector<choosable_node> choosable_nodes(const graph& after_passes, narrowing how = narrowing::own_kernels);

/// Errors: invalid_argument, naming the node: one that the graph does not have, or whose precision cannot be chosen;
/// smoothing that does not fit the node's input.
expected<void> check_nodes(const graph& after_passes, const std::map<std::string, node_precision>& nodes,
                           narrowing how = narrowing::own_kernels);

/// `nodes` as check_nodes takes them; others in it are left out. Rows are quantised once for all that read them, by
/// what makes them where that is a layer norm of ours or an int8 linear.
void apply_precision(graph& after_passes, const std::map<std::string, node_precision>& nodes,
                     narrowing how = narrowing::own_kernels);

}  // namespace shoal::executor
