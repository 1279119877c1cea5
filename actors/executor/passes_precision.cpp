#include "executor/passes_precision.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "executor/graph_uses.hpp"
#include "executor/kernels/int8_linear.hpp"
#include "executor/passes.hpp"
#include "executor/passes_casts.hpp"
#include "executor/passes_convolution_precision.hpp"

namespace shoal::executor {

namespace {

constexpr std::string_view packed_linear = "torch.ops.shoal.packed_linear.default";
constexpr std::string_view pack_linear_target = "torch.ops.shoal.pack_linear.default";
constexpr std::string_view attention = "torch.ops.shoal.attention.default";
constexpr std::string_view layer_norm = "torch.ops.shoal.add_layer_norm.default";
constexpr std::string_view linear_int8 = "torch.ops.shoal.linear_int8.default";
constexpr std::string_view quantise = "torch.ops.shoal.quantise_rows.default";

item_list as_list(const std::vector<std::int64_t>& numbers) {
  item_list list;
  for (const auto number : numbers) list.items.emplace_back(number);
  return list;
}

/// The stored weight that a packed linear's packing packs.
const stored_tensor* weight_of(const graph& in, const graph_uses& uses, const node& linear) {
  const auto packed = value_of(linear, "packed");
  const auto made = packed ? uses.producer(*packed) : std::nullopt;
  if (!made || in.nodes[*made].target != pack_linear_target) return nullptr;
  const auto id = value_of(in.nodes[*made], "weight");
  const auto found =
      std::find_if(in.stored.begin(), in.stored.end(), [&](const auto& each) { return id && each.id == *id; });
  return found == in.stored.end() ? nullptr : &*found;
}

/// Puts a plan into a graph, node by node; what it adds goes to the graph's start or before the node that reads it.
class precision_writer {
 public:
  explicit precision_writer(graph& program) : program_(program), uses_(program) {}

  void apply(const std::map<std::string, node_precision>& nodes) {
    std::vector<const stored_tensor*> weights;
    for (const auto& each : program_.nodes)
      weights.push_back(each.target == packed_linear ? weight_of(program_, uses_, each) : nullptr);
    std::vector<node> made;
    for (std::size_t i = 0; i < program_.nodes.size(); ++i) {
      auto& each = program_.nodes[i];
      const auto* weight = weights[i];
      const auto wanted = nodes.find(each.name);
      if (wanted != nodes.end() && weight != nullptr) change(each, *weight, wanted->second, made);
      if (wanted != nodes.end() && each.target == attention && wanted->second.as == precision::bf16)
        each.inputs.push_back({"numbers", std::string("bf16")});
      made.push_back(std::move(each));
    }
    program_.nodes = std::move(start_);
    program_.nodes.insert(program_.nodes.end(), std::make_move_iterator(made.begin()),
                          std::make_move_iterator(made.end()));
  }

 private:
  value_id add_value(std::string name) {
    program_.values.push_back({std::move(name), value_kind::tensor, std::nullopt});
    return static_cast<value_id>(program_.values.size() - 1);
  }

  /// A node at the graph's start that makes a constant.
  value_id constant(const std::string& name, std::string_view target, std::vector<named_argument> inputs) {
    const auto id = add_value(name);
    start_.push_back({name, std::string(target), std::move(inputs), {{false, {id}}}});
    return id;
  }

  value_id packed(const node& linear, const stored_tensor& weight, const node_precision& as) {
    // int8 and int8_weight read the same bytes.
    const auto numbers = as.as == precision::int8_weight ? precision::int8 : as.as;
    const auto name = std::string(name_of(numbers));
    // One packing serves all that read the weight in the same way.
    const auto [entry, is_new] = packings_.try_emplace({weight.id, numbers, as.clip, as.smoothing}, 0);
    if (is_new) {
      std::vector<named_argument> inputs{{"weight", reference{weight.id}}};
      if (numbers == precision::int8) {
        inputs.push_back({"smoothing", as_list(as.smoothing)});
        inputs.push_back({"clip", as.clip});
      }
      entry->second = constant("pack_" + name + "_" + linear.name, "torch.ops.shoal.pack_linear_" + name + ".default",
                               std::move(inputs));
    }
    return entry->second;
  }

  argument factors(const node& linear, const std::vector<std::int64_t>& smoothing) {
    if (smoothing.empty()) return {};
    const auto [entry, is_new] = factors_.try_emplace(smoothing, 0);
    if (is_new)
      entry->second = constant("smooth_" + linear.name, "torch.ops.shoal.smoothing_factors.default",
                               {{"steps", as_list(smoothing)}});
    return reference{entry->second};
  }

  value_id rows(const node& linear, value_id x, const std::vector<std::int64_t>& smoothing, std::vector<node>& made) {
    const auto [entry, is_new] = rows_.try_emplace({x, smoothing}, 0);
    if (is_new) {
      entry->second = add_value(linear.name + "_rows");
      made.push_back({"quantise_" + linear.name,
                      std::string(quantise),
                      {{"x", reference{x}}, {"factors", factors(linear, smoothing)}},
                      {{false, {entry->second}}}});
    }
    return entry->second;
  }

  void change(node& linear, const stored_tensor& weight, const node_precision& as, std::vector<node>& made) {
    if (as.as == precision::fp32) return;
    const auto x = *value_of(linear, "x");
    const auto by = packed(linear, weight, as);
    std::vector<named_argument> inputs;
    if (as.as == precision::int8) {
      inputs.push_back({"rows", reference{rows(linear, x, as.smoothing, made)}});
      inputs.push_back({"packed", reference{by}});
      inputs.push_back({"in_features", weight.sizes[1]});
      linear.target = linear_int8;
    } else {
      inputs.push_back({"x", reference{x}});
      inputs.push_back({"packed", reference{by}});
      linear.target = "torch.ops.shoal.linear_" + std::string(name_of(as.as)) + ".default";
    }
    for (auto& input : linear.inputs)
      if (input.name != "x" && input.name != "packed") inputs.push_back(std::move(input));
    linear.inputs = std::move(inputs);
  }

  struct packing {
    value_id weight;
    precision numbers;
    bool clip;
    std::vector<std::int64_t> smoothing;
    auto operator<=>(const packing&) const = default;
  };

  graph& program_;
  graph_uses uses_;
  std::vector<node> start_;
  std::map<packing, value_id> packings_;
  std::map<std::vector<std::int64_t>, value_id> factors_;
  std::map<std::pair<value_id, std::vector<std::int64_t>>, value_id> rows_;
};

/// Quantisation in what makes the rows: a layer norm gives them beside its result, an int8 linear that nothing else
/// reads in its place.
void fuse_quantisation(graph& program) {
  const graph_uses uses(program);
  std::vector<bool> removed(program.nodes.size());
  for (std::size_t i = 0; i < program.nodes.size(); ++i) {
    const auto& each = program.nodes[i];
    if (each.target != quantise) continue;
    const auto x = value_of(each, "x");
    const auto made = x ? uses.producer(*x) : std::nullopt;
    if (!made) continue;
    auto& maker = program.nodes[*made];
    const auto* width = find_argument(maker, "normalized_shape");
    const auto* sizes = width == nullptr ? nullptr : std::get_if<item_list>(width);
    const auto rows = each.outputs[0].values[0];
    if (maker.target == layer_norm && sizes != nullptr && sizes->items.size() == 1) {
      maker.target = "torch.ops.shoal.add_layer_norm_rows.default";
      maker.outputs.push_back({false, {rows}});
    } else if (maker.target == linear_int8 && uses.readers(*x) == 1) {
      maker.target = "torch.ops.shoal.linear_int8_rows.default";
      maker.outputs[0].values[0] = rows;
    } else {
      continue;
    }
    maker.inputs.push_back({"factors", *find_argument(each, "factors")});
    removed[i] = true;
  }
  remove_nodes(program, removed);
}

}  // namespace

std::vector<choosable_node> choosable_nodes(const graph& after_passes, narrowing how) {
  if (how == narrowing::casts) return castable_nodes(after_passes);
  const graph_uses uses(after_passes);
  std::vector<choosable_node> found;
  for (const auto& each : after_passes.nodes) {
    if (const auto q = value_of(each, "q"); each.target == attention && q)
      found.push_back({each.name, 0, 0, *q, std::nullopt, {precision::fp32, precision::bf16}});
    if (auto convolution = choosable_convolution(after_passes, uses, each)) found.push_back(*std::move(convolution));
    const auto* weight = each.target == packed_linear ? weight_of(after_passes, uses, each) : nullptr;
    const auto x = value_of(each, "x");
    if (weight == nullptr || !x) continue;
    choosable_node node{each.name, weight->sizes[0], weight->sizes[1], *x, weight->id, {}};
    node.precisions = {precision::fp32, precision::bf16, precision::fp16};
    if (kernels::packed_int8_bytes(node.columns, node.inner)) {
      node.precisions.push_back(precision::int8);
      node.precisions.push_back(precision::int8_weight);
    }
    found.push_back(std::move(node));
  }
  return found;
}

expected<void> check_nodes(const graph& after_passes, const std::map<std::string, node_precision>& nodes,
                           narrowing how) {
  std::map<std::string, choosable_node> known;
  for (auto& each : choosable_nodes(after_passes, how)) known.emplace(each.name, std::move(each));
  for (const auto& [name, wanted] : nodes) {
    const auto found = known.find(name);
    if (found == known.end())
      return fail(errc::invalid_argument, "the plan names the node " + name +
                                              ", which this model does not have or whose precision is not to be "
                                              "chosen: make a plan for this model (shoal tune)");
    if (!found->second.can(wanted.as))
      return fail(errc::invalid_argument, "the node " + name + " cannot be computed in " +
                                              std::string(name_of(wanted.as)) + ": make another plan (shoal tune)");
    if (wanted.input_range && !found->second.takes_range)
      return fail(errc::invalid_argument,
                  "the plan has an input_range for the node " + name + ", whose rows have ranges of their own");
    if (!wanted.smoothing.empty() && found->second.takes_range)
      return fail(errc::invalid_argument, "the plan smooths the node " + name + ", which is a convolution");
    const auto channels = static_cast<std::int64_t>(wanted.smoothing.size());
    if (channels != 0 && channels != found->second.inner)
      return fail(errc::invalid_argument, "the plan smooths " + std::to_string(channels) + " channels of the node " +
                                              name + ", whose input has " + std::to_string(found->second.inner));
  }
  return {};
}

void apply_precision(graph& after_passes, const std::map<std::string, node_precision>& nodes, narrowing how) {
  if (nodes.empty()) return;
  if (how == narrowing::casts) return apply_casts(after_passes, nodes);
  precision_writer(after_passes).apply(nodes);
  fuse_quantisation(after_passes);
  apply_convolution_precision(after_passes, nodes);
  drop_dead_nodes(after_passes);
}

}  // namespace shoal::executor
