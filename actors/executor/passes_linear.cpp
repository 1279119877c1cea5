#include <map>

#include "executor/graph_uses.hpp"
#include "executor/operators.hpp"
#include "executor/passes.hpp"

namespace shoal::executor {

namespace {

constexpr std::string_view packed_linear = "torch.ops.shoal.packed_linear.default";

/// A linear whose weight, bias and input are what the packed one takes.
bool packs(const graph& in, const node& linear, const stored_tensor& weight) {
  const auto x = value_of(linear, "input");
  const auto y = single_output(linear);
  if (!x || !y || !is_fp32(in, *x) || !is_fp32(in, *y)) return false;
  const auto& sizes = in.values[*x].meta->sizes;
  if (sizes.empty() || !sizes.back().is_fixed() || sizes.back().offset != weight.sizes[1]) return false;
  const auto* bias = find_argument(linear, "bias");
  if (bias == nullptr || std::holds_alternative<std::monostate>(*bias)) return true;
  const auto id = value_of(linear, "bias");
  if (!id || !is_fp32(in, *id)) return false;
  const auto& length = in.values[*id].meta->sizes;
  return length.size() == 1 && length[0].is_fixed() && length[0].offset == weight.sizes[0];
}

/// Below half a panel the zeros that fill it cost more than the kernel gains (measured; ATen has a matrix-vector
/// product there).
constexpr std::int64_t fewest_columns = 8;

bool is_packable(const stored_tensor& weight) {
  return weight.type == archive_fp32 && weight.sizes.size() == 2 && weight.sizes[0] >= fewest_columns &&
         weight.sizes[1] > 0;
}

/// "gelu_tanh" and the like of a node that applies one to `self`; empty for other nodes.
std::string_view activation_of(const node& candidate) {
  if (candidate.target == "torch.ops.aten.relu.default") return "relu";
  if (candidate.target == "torch.ops.aten.silu.default") return "silu";
  if (candidate.target != "torch.ops.aten.gelu.default") return {};
  const auto* form = find_argument(candidate, "approximate");
  if (form == nullptr) return "gelu";
  const auto* name = std::get_if<std::string>(form);
  if (name == nullptr) return {};
  return *name == "none" ? "gelu" : *name == "tanh" ? "gelu_tanh" : "";
}

/// A packed linear that nothing follows yet.
bool is_plain(const node& linear) {
  const auto* activation = find_argument(linear, "activation");
  const auto* name = activation == nullptr ? nullptr : std::get_if<std::string>(activation);
  return name != nullptr && *name == "none" && find_argument(linear, "residual") == nullptr;
}

/// The packed linear whose result only `reader` reads, through its argument `name`.
std::optional<std::size_t> only_read_here(const graph& in, const graph_uses& uses, const std::vector<bool>& removed,
                                          const node& reader, std::string_view name) {
  const auto id = value_of(reader, name);
  if (!id || uses.readers(*id) != 1) return std::nullopt;
  const auto made = uses.producer(*id);
  if (!made || removed[*made] || in.nodes[*made].target != packed_linear) return std::nullopt;
  return made;
}

}  // namespace

void pack_linear(graph& program) {
  const graph_uses uses(program);
  if (uses.writes()) return;
  std::map<value_id, const stored_tensor*> weights;
  for (const auto& each : program.stored)
    if (is_packable(each)) weights.emplace(each.id, &each);

  // A weight that something else reads too would be kept twice.
  std::map<value_id, std::size_t> linears;
  for (const auto& each : program.nodes) {
    if (each.target != "torch.ops.aten.linear.default") continue;
    const auto id = value_of(each, "weight");
    const auto weight = id ? weights.find(*id) : weights.end();
    if (weight != weights.end() && packs(program, each, *weight->second)) ++linears[*id];
  }

  std::vector<node> packings;
  std::map<value_id, value_id> packed;
  for (const auto& [id, count] : linears) {
    if (count != uses.readers(id)) continue;
    const auto made = static_cast<value_id>(program.values.size());
    program.values.push_back({program.values[id].name + "_packed", value_kind::tensor, std::nullopt});
    packings.push_back({"pack_" + program.values[id].name,
                        "torch.ops.shoal.pack_linear.default",
                        {{"weight", reference{id}}},
                        {{false, {made}}}});
    packed.emplace(id, made);
  }
  for (auto& each : program.nodes) {
    if (each.target != "torch.ops.aten.linear.default") continue;
    const auto id = value_of(each, "weight");
    const auto found = id ? packed.find(*id) : packed.end();
    if (found == packed.end()) continue;
    const auto* bias = find_argument(each, "bias");
    std::vector<named_argument> inputs{{"x", *find_argument(each, "input")}, {"packed", reference{found->second}}};
    inputs.push_back({"bias", bias == nullptr ? argument() : *bias});
    inputs.push_back({"out_features", weights.at(*id)->sizes[0]});
    inputs.push_back({"activation", std::string("none")});
    each.target = packed_linear;
    each.inputs = std::move(inputs);
  }
  program.nodes.insert(program.nodes.begin(), std::make_move_iterator(packings.begin()),
                       std::make_move_iterator(packings.end()));
}

void fuse_activation(graph& program) {
  const graph_uses uses(program);
  if (uses.writes()) return;
  std::vector<bool> removed(program.nodes.size());
  // The linear moves to where what follows it was: its arguments are made by then, its readers come later.
  const auto take_place_of = [&](std::size_t follower, std::size_t linear) {
    auto& each = program.nodes[follower];
    program.nodes[linear].outputs = std::move(each.outputs);
    each = std::move(program.nodes[linear]);
    removed[linear] = true;
  };
  for (std::size_t i = 0; i < program.nodes.size(); ++i) {
    auto& each = program.nodes[i];
    const auto y = single_output(each);
    if (!y || !is_fp32(program, *y)) continue;
    if (const auto activation = activation_of(each); !activation.empty()) {
      const auto linear = only_read_here(program, uses, removed, each, "self");
      if (!linear || !is_plain(program.nodes[*linear])) continue;
      for (auto& input : program.nodes[*linear].inputs)
        if (input.name == "activation") input.value = std::string(activation);
      take_place_of(i, *linear);
    } else if (each.target == "torch.ops.aten.add.Tensor" && is_default(each, "alpha", 1)) {
      const auto self = value_of(each, "self");
      const auto other = value_of(each, "other");
      if (!self || !other || !same_fp32_shape(program, *self, *other)) continue;
      const bool first = only_read_here(program, uses, removed, each, "self").has_value();
      const auto linear = only_read_here(program, uses, removed, each, first ? "self" : "other");
      if (!linear || find_argument(program.nodes[*linear], "residual") != nullptr) continue;
      program.nodes[*linear].inputs.push_back({"residual", reference{first ? *other : *self}});
      take_place_of(i, *linear);
    }
  }
  remove_nodes(program, removed);
}

}  // namespace shoal::executor
