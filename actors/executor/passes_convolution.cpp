#include <algorithm>
#include <array>

#include "executor/graph_uses.hpp"
#include "executor/operators.hpp"
#include "executor/passes.hpp"

namespace shoal::executor {

namespace {

constexpr std::string_view plain_convolution = "torch.ops.aten.conv2d.default";
constexpr std::string_view folded_weight = "torch.ops.shoal.fold_batch_norm_weight.default";
constexpr std::string_view folded_bias = "torch.ops.shoal.fold_batch_norm_bias.default";
constexpr std::string_view packed_weight = "torch.ops.shoal.pack_convolution_weight.default";
constexpr std::string_view fused = "torch.ops.shoal.convolution.default";
constexpr std::string_view fused_add = "torch.ops.shoal.convolution_add.default";

constexpr std::size_t no_node = static_cast<std::size_t>(-1);

/// Where values come from: the archive's weights, and nodes.
struct origins {
  explicit origins(const graph& in) : stored(in.values.size()), maker(in.values.size(), no_node) {
    for (const auto& each : in.stored) stored[each.id] = &each;
    for (std::size_t i = 0; i < in.nodes.size(); ++i)
      if (const auto result = single_output(in.nodes[i])) maker[*result] = i;
  }

  [[nodiscard]] bool is_float32(value_id id, std::size_t rank) const {
    return stored[id] != nullptr && stored[id]->type == archive_fp32 && stored[id]->sizes.size() == rank;
  }

  /// Whether an argument is a stored vector in fp32; `or_absent`: or not given.
  [[nodiscard]] bool is_vector(const node& each, std::string_view name, bool or_absent) const {
    if (find_given(each, name) == nullptr) return or_absent;
    const auto id = value_of(each, name);
    return id && is_float32(*id, 1);
  }

  std::vector<const stored_tensor*> stored;
  std::vector<std::size_t> maker;
};

bool is_image(const graph& in, value_id id) {
  const auto& meta = in.values[id].meta;
  return meta && meta->type == archive_fp32 && meta->sizes.size() == 4;
}

argument argument_or_none(const node& in, std::string_view name) {
  const auto* given = find_given(in, name);
  return given == nullptr ? argument() : *given;
}

void set_argument(node& in, std::string_view name, argument value) {
  for (auto& input : in.inputs)
    if (input.name == name) {
      input.value = std::move(value);
      return;
    }
  in.inputs.push_back({std::string(name), std::move(value)});
}

/// A pair of fixed numbers, given as two, as one for both, or left at its default.
std::optional<item_list> pair_of(const node& in, std::string_view name, std::int64_t otherwise) {
  const auto* given = find_given(in, name);
  if (given == nullptr) return item_list{{otherwise, otherwise}};
  if (const auto* number = std::get_if<std::int64_t>(given)) return item_list{{*number, *number}};
  const auto* list = std::get_if<item_list>(given);
  if (list == nullptr || list->items.empty() || list->items.size() > 2) return std::nullopt;
  for (const auto& each : list->items)
    if (!std::holds_alternative<std::int64_t>(each)) return std::nullopt;
  return item_list{{list->items.front(), list->items.back()}};
}

/// Replaces nodes by several or none, in order.
class rewritten_nodes {
 public:
  explicit rewritten_nodes(graph& of) : graph_(of), before_(of.nodes.size()), is_removed_(of.nodes.size()) {}
  void put_before(std::size_t place, node added) { before_[place].push_back(std::move(added)); }
  void remove(std::size_t place) { is_removed_[place] = true; }
  void apply() {
    std::vector<node> nodes;
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (auto& each : before_[i]) nodes.push_back(std::move(each));
      if (!is_removed_[i]) nodes.push_back(std::move(graph_.nodes[i]));
    }
    graph_.nodes = std::move(nodes);
  }

 private:
  graph& graph_;
  std::vector<std::vector<node>> before_;
  std::vector<bool> is_removed_;
};

bool is_batch_norm_of_constants(const node& each, const origins& from) {
  const auto* training = find_given(each, "training");
  const auto* flag = training == nullptr ? nullptr : std::get_if<bool>(training);
  const auto* eps = find_given(each, "eps");
  return each.target == "torch.ops.aten.batch_norm.default" && flag != nullptr && !*flag && eps != nullptr &&
         std::holds_alternative<double>(*eps) && from.is_vector(each, "running_mean", false) &&
         from.is_vector(each, "running_var", false) && from.is_vector(each, "weight", true) &&
         from.is_vector(each, "bias", true);
}

// ---- Convolutions with what follows them ----

struct activation {
  std::string name;
  item_list limits;
};

std::optional<double> number(const node& in, std::string_view name, double otherwise) {
  const auto* given = find_given(in, name);
  if (given == nullptr) return otherwise;
  if (const auto* whole = std::get_if<std::int64_t>(given)) return static_cast<double>(*whole);
  const auto* real = std::get_if<double>(given);
  return real == nullptr ? std::nullopt : std::optional(*real);
}

/// The activation a node computes, as oneDNN's glue calls it.
std::optional<activation> activation_of(const node& each) {
  const auto name = aten_name(each.target);
  if (!each.target.ends_with(".default")) return std::nullopt;
  if (name == "relu" || name == "sigmoid" || name == "tanh" || name == "hardswish" || name == "hardsigmoid")
    return activation{std::string(name), {}};
  if (name == "silu") return activation{"swish", {}};
  if (name == "relu6") return activation{"hardtanh", {{0.0, 6.0}}};
  if (name == "gelu") {
    const auto* formula = find_given(each, "approximate");
    const auto* text = formula == nullptr ? nullptr : std::get_if<std::string>(formula);
    if (formula == nullptr || (text != nullptr && *text == "none")) return activation{"gelu", {}};
  }
  if (name == "hardtanh") {
    const auto low = number(each, "min_val", -1);
    const auto high = number(each, "max_val", 1);
    if (low && high) return activation{"hardtanh", {{*low, *high}}};
  }
  if (name == "leaky_relu")
    if (const auto slope = number(each, "negative_slope", 0.01)) return activation{"leaky_relu", {{*slope}}};
  return std::nullopt;
}

/// What would see that a value's memory is ordered differently, or needs one order.
bool depends_on_strides(const node& each) {
  const auto name = aten_name(each.target);
  return each.target == "torch.ops.aten.view.dtype" || name == "view_as_complex" || name == "sym_stride" ||
         name == "sym_storage_offset";
}

/// Views of one shape in another need an order of memory; reshaping copies where that order is another.
void reshape_for_view(node& each) {
  const auto name = aten_name(each.target);
  if (name == "view" || name == "_unsafe_view") {
    each.target = "torch.ops.aten.reshape.default";
    for (auto& input : each.inputs)
      if (input.name == "size") input.name = "shape";
  } else if (name == "view_as") {
    each.target = "torch.ops.aten.reshape_as.default";
  }
}

class convolution_fusion {
 public:
  convolution_fusion(graph& of, bool pack) : graph_(of), pack_(pack), from_(of), uses_(of), nodes_(of) {}

  void run() {
    if (uses_.writes() || std::any_of(graph_.nodes.begin(), graph_.nodes.end(), depends_on_strides)) return;
    bool any = false;
    for (std::size_t place = 0; place < graph_.nodes.size(); ++place) {
      if (replace_convolution(place))
        any = true;
      else if (!take_activation(place))
        take_residual(place);
    }
    if (any) std::for_each(graph_.nodes.begin(), graph_.nodes.end(), reshape_for_view);
    nodes_.apply();
  }

 private:
  bool replace_convolution(std::size_t place) {
    const auto& plain = graph_.nodes[place];
    if (plain.target != plain_convolution) return false;
    const auto input = value_of(plain, "input");
    const auto weight = value_of(plain, "weight");
    const auto result = single_output(plain);
    if (!input || !weight || !result || !is_image(graph_, *input) || !is_image(graph_, *result)) return false;
    const auto sizes = weight_sizes(*weight);
    if (!sizes) return false;
    if (!from_.is_vector(plain, "bias", true) && !is_made_by(value_of(plain, "bias"), folded_bias)) return false;
    const auto stride = pair_of(plain, "stride", 1);
    const auto padding = pair_of(plain, "padding", 0);
    const auto dilation = pair_of(plain, "dilation", 1);
    const auto* groups = find_given(plain, "groups");
    if (groups != nullptr && !std::holds_alternative<std::int64_t>(*groups)) return false;
    if (!stride || !padding || !dilation) return false;
    const argument group_count = groups == nullptr ? argument(std::int64_t{1}) : *groups;
    auto packed = *weight;
    const auto bias = argument_or_none(plain, "bias");
    const auto name = plain.name;
    if (pack_) {
      packed = add_tensor(graph_, name + "_packed_weight");
      nodes_.put_before(place, {name,
                                std::string(packed_weight),
                                {{"weight", reference{*weight}},
                                 {"stride", *stride},
                                 {"padding", *padding},
                                 {"dilation", *dilation},
                                 {"groups", group_count},
                                 {"input", expected_input(*input)}},
                                {{false, {packed}}}});
    }
    graph_.nodes[place] = {name,
                           std::string(fused),
                           {{"input", reference{*input}},
                            {"weight", reference{packed}},
                            {"bias", bias},
                            {"sizes", *sizes},
                            {"stride", *stride},
                            {"padding", *padding},
                            {"dilation", *dilation},
                            {"groups", group_count},
                            {"activation", std::string("none")},
                            {"limits", item_list{}}},
                           {{false, {*result}}}};
    return true;
  }

  [[nodiscard]] bool is_made_by(std::optional<value_id> id, std::string_view target) const {
    return id && from_.maker[*id] != no_node && graph_.nodes[from_.maker[*id]].target == target;
  }

  /// Of a constant fp32 weight of four dimensions, as stored or with a batch norm in it.
  [[nodiscard]] std::optional<item_list> weight_sizes(value_id id) const {
    if (is_made_by(id, folded_weight)) id = value_of(graph_.nodes[from_.maker[id]], "weight").value_or(id);
    if (!from_.is_float32(id, 4)) return std::nullopt;
    return item_list{{from_.stored[id]->sizes.begin(), from_.stored[id]->sizes.end()}};
  }

  /// The sizes the packing is chosen for, if they are known: with a batch of one where that is open.
  [[nodiscard]] argument expected_input(value_id input) const {
    item_list sizes;
    for (const auto& size : graph_.values[input].meta->sizes) {
      if (!size.is_fixed() && !sizes.items.empty()) return {};
      sizes.items.push_back(size.is_fixed() ? size.offset : std::int64_t{1});
    }
    return sizes;
  }

  /// The fused convolution whose result this is and that nobody else reads, while it has no activation.
  std::optional<std::size_t> open_convolution(std::optional<value_id> result) const {
    if (!result || uses_.readers(*result) != 1 || from_.maker[*result] == no_node) return std::nullopt;
    const auto place = from_.maker[*result];
    const auto& made = graph_.nodes[place];
    if (made.target != fused && made.target != fused_add) return std::nullopt;
    const auto* name = std::get_if<std::string>(find_argument(made, "activation"));
    return name != nullptr && *name == "none" ? std::optional(place) : std::nullopt;
  }

  bool take_activation(std::size_t place) {
    const auto& each = graph_.nodes[place];
    const auto wanted = activation_of(each);
    const auto result = single_output(each);
    if (!wanted || !result) return false;
    const auto found = open_convolution(value_of(each, "self"));
    if (!found) return false;
    auto& into = graph_.nodes[*found];
    if (into.target == fused_add && wanted->name != "relu") return false;  // oneDNN's glue takes no other after a sum
    set_argument(into, "activation", wanted->name);
    if (into.target == fused) set_argument(into, "limits", wanted->limits);
    into.outputs[0].values[0] = *result;
    from_.maker[*result] = *found;
    nodes_.remove(place);
    return true;
  }

  void take_residual(std::size_t place) {
    const auto& sum = graph_.nodes[place];
    if (sum.target != "torch.ops.aten.add.Tensor") return;
    const auto alpha = number(sum, "alpha", 1);
    const auto left = value_of(sum, "self");
    const auto right = value_of(sum, "other");
    const auto result = single_output(sum);
    if (!left || !right || !result || alpha != 1.0 || !is_image(graph_, *left) || !is_image(graph_, *right) ||
        graph_.values[*left].meta->sizes != graph_.values[*right].meta->sizes)
      return;
    auto first = residual_target(*left);
    auto other = right;
    // Of two convolutions the later one takes the sum of the earlier.
    if (const auto second = residual_target(*right); second && (!first || *second > *first)) {
      first = second;
      other = left;
    }
    if (!first) return;
    auto moved = std::move(graph_.nodes[*first]);
    nodes_.remove(*first);
    std::erase_if(moved.inputs, [](const auto& input) { return input.name == "limits"; });
    moved.target = std::string(fused_add);
    moved.inputs.insert(moved.inputs.begin() + 1, {"other", reference{*other}});
    moved.outputs[0].values[0] = *result;
    graph_.nodes[place] = std::move(moved);
    from_.maker[*result] = place;
  }

  std::optional<std::size_t> residual_target(value_id result) const {
    const auto found = open_convolution(result);
    return found && graph_.nodes[*found].target == fused ? found : std::nullopt;
  }

  graph& graph_;
  bool pack_;
  origins from_;
  graph_uses uses_;
  rewritten_nodes nodes_;
};

}  // namespace

void fold_batch_norms(graph& program) {
  const graph_uses uses(program);
  if (uses.writes()) return;
  const origins from(program);
  rewritten_nodes nodes(program);
  for (std::size_t place = 0; place < program.nodes.size(); ++place) {
    const auto& norm = program.nodes[place];
    const auto normed = value_of(norm, "input");
    const auto result = single_output(norm);
    if (!normed || !result || !is_batch_norm_of_constants(norm, from)) continue;
    if (uses.readers(*normed) != 1 || from.maker[*normed] == no_node || !is_image(program, *normed)) continue;
    const auto convolved = from.maker[*normed];
    const auto source = program.nodes[convolved];
    const auto weight = value_of(source, "weight");
    if (source.target != plain_convolution || !weight || !from.is_float32(*weight, 4) ||
        !from.is_vector(source, "bias", true))
      continue;
    const auto eps = *find_given(norm, "eps");
    const auto scale = argument_or_none(norm, "weight");
    const auto variance = *find_given(norm, "running_var");
    const auto new_weight = add_tensor(program, source.name + "_folded_weight");
    const auto new_bias = add_tensor(program, source.name + "_folded_bias");
    nodes.put_before(convolved,
                     {source.name,
                      std::string(folded_weight),
                      {{"weight", reference{*weight}}, {"scale", scale}, {"variance", variance}, {"eps", eps}},
                      {{false, {new_weight}}}});
    nodes.put_before(convolved, {source.name,
                                 std::string(folded_bias),
                                 {{"bias", argument_or_none(source, "bias")},
                                  {"scale", scale},
                                  {"shift", argument_or_none(norm, "bias")},
                                  {"mean", *find_given(norm, "running_mean")},
                                  {"variance", variance},
                                  {"eps", eps}},
                                 {{false, {new_bias}}}});
    auto& changed = program.nodes[convolved];
    set_argument(changed, "weight", reference{new_weight});
    set_argument(changed, "bias", reference{new_bias});
    changed.outputs[0].values[0] = *result;
    nodes.remove(place);
  }
  nodes.apply();
}

void fuse_convolutions(graph& program, bool pack) { convolution_fusion(program, pack).run(); }

}  // namespace shoal::executor
