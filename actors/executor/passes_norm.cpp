#include "executor/graph_uses.hpp"
#include "executor/passes.hpp"

namespace shoal::executor {

namespace {

/// The addition of two tensors of one shape whose sum only `norm` reads.
std::optional<std::size_t> addition_before(const graph& in, const graph_uses& uses, const node& norm) {
  const auto sum = value_of(norm, "input");
  if (!sum || uses.readers(*sum) != 1) return std::nullopt;
  const auto made = uses.producer(*sum);
  if (!made || in.nodes[*made].target != "torch.ops.aten.add.Tensor") return std::nullopt;
  const auto& add = in.nodes[*made];
  const auto self = value_of(add, "self");
  const auto other = value_of(add, "other");
  if (!self || !other || !is_default(add, "alpha", 1) || !same_fp32_shape(in, *self, *other)) return std::nullopt;
  return made;
}

bool is_absent_or_fp32(const graph& in, const node& norm, std::string_view name) {
  const auto* found = find_argument(norm, name);
  if (found == nullptr || std::holds_alternative<std::monostate>(*found)) return true;
  const auto id = value_of(norm, name);
  return id && is_fp32(in, *id);
}

}  // namespace

void fuse_layer_norm(graph& program) {
  const graph_uses uses(program);
  if (uses.writes()) return;
  std::vector<bool> removed(program.nodes.size());
  for (auto& each : program.nodes) {
    if (each.target != "torch.ops.aten.layer_norm.default") continue;
    const auto x = value_of(each, "input");
    if (!x || !is_fp32(program, *x) || !is_absent_or_fp32(program, each, "weight") ||
        !is_absent_or_fp32(program, each, "bias"))
      continue;
    std::vector<named_argument> inputs{{"x", reference{*x}}, {"residual", argument()}};
    if (const auto add = addition_before(program, uses, each)) {
      inputs[0].value = reference{*value_of(program.nodes[*add], "self")};
      inputs[1].value = reference{*value_of(program.nodes[*add], "other")};
      removed[*add] = true;
    }
    for (auto& input : each.inputs)
      if (input.name != "input" && input.name != "cudnn_enable") inputs.push_back(std::move(input));
    each.target = "torch.ops.shoal.add_layer_norm.default";
    each.inputs = std::move(inputs);
  }
  remove_nodes(program, removed);
}

}  // namespace shoal::executor
