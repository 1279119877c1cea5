// The passes in their order, and what each did. Plain functions; the operators that fused nodes call are registered
// when a program is built.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "executor/graph.hpp"
#include "executor/model.hpp"

namespace shoal::executor {

/// Called after each pass that is on, with its name (pass_names.hpp) and the graph as it left it.
using pass_observer = std::function<void(std::string_view pass, const graph& left)>;

/// In-place operators go first, since folding and fusing leave graphs alone that write. Constants are folded later,
/// when the program is built.
void apply_passes(const pass_options& passes, graph& exported, const pass_observer& after = {});

/// Every node whose operator is neither allowed (operators.hpp) nor arithmetic on sizes.
std::vector<refused_part> check_all_allowed(const graph& exported);

}  // namespace shoal::executor
