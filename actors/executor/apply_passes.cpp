#include "executor/apply_passes.hpp"

#include "executor/operators.hpp"
#include "executor/passes.hpp"
#include "executor/scalar_operators.hpp"

namespace shoal::executor {

void apply_passes(const pass_options& passes, graph& exported, const pass_observer& after) {
  const auto apply = [&](std::string_view name, bool on, auto&& pass) {
    if (!on) return;
    pass(exported);
    if (after) after(name, exported);
  };
  apply("functionalise", passes.functionalise, functionalise);
  apply("drop_no_ops", passes.drop_no_ops, drop_no_ops);
  apply("drop_dead", passes.drop_dead, drop_dead_nodes);
  apply("fuse_layer_norm", passes.fuse_layer_norm, fuse_layer_norm);
  apply("fuse_attention", passes.fuse_attention, fuse_attention);
  apply("pack_linear", passes.pack_linear && passes.fold_constants, pack_linear);
  apply("fuse_activation", passes.fuse_activation, fuse_activation);
  apply("fold_batch_norms", passes.fold_batch_norms, fold_batch_norms);
  apply("fuse_convolutions", passes.fuse_convolutions,
        [&](graph& program) { fuse_convolutions(program, passes.fold_constants); });
}

std::vector<refused_part> check_all_allowed(const graph& exported) {
  std::vector<refused_part> refused;
  for (const auto& each : exported.nodes)
    if (find_scalar_operator(each.target) == nullptr)
      if (const auto allowed = check_allowed(each); !allowed)
        refused.push_back({each.name, each.target, allowed.error()});
  return refused;
}

}  // namespace shoal::executor
