#include "executor/passes_casts.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "executor/graph_uses.hpp"
#include "executor/operators.hpp"

namespace shoal::executor {

namespace {

constexpr archive_dtype archive_fp16{6};
constexpr archive_dtype archive_bf16{13};

archive_dtype dtype_of(precision which) {
  if (which == precision::bf16) return archive_bf16;
  return which == precision::fp16 ? archive_fp16 : archive_fp32;
}

/// An operator whose precision is chosen, and its arguments that are cast.
struct product_operator {
  std::string_view name;  ///< within aten, without overload
  std::array<std::string_view, 4> tensors;
  std::string_view weight;  ///< of which the sizes tell how much the node computes
};
constexpr std::array<product_operator, 10> products{{
    {"linear", {"input", "weight", "bias"}, "weight"},
    {"addmm", {"self", "mat1", "mat2"}, "mat2"},
    {"mm", {"self", "mat2"}, "mat2"},
    {"bmm", {"self", "mat2"}, ""},
    {"baddbmm", {"self", "batch1", "batch2"}, ""},
    {"matmul", {"self", "other"}, "other"},
    {"conv1d", {"input", "weight", "bias"}, "weight"},
    {"conv2d", {"input", "weight", "bias"}, "weight"},
    {"conv3d", {"input", "weight", "bias"}, "weight"},
    {"scaled_dot_product_attention", {"query", "key", "value", "attn_mask"}, ""},
}};

const product_operator* product_of(const node& each) {
  const auto name = aten_name(each.target);
  const auto found = std::find_if(products.begin(), products.end(), [&](const auto& of) { return of.name == name; });
  return found == products.end() ? nullptr : &*found;
}

/// Of one tensor, element by element or not at all: their result has the type of what they read.
constexpr std::array<std::string_view, 31> followers{"view",
                                                     "reshape",
                                                     "_unsafe_view",
                                                     "permute",
                                                     "transpose",
                                                     "t",
                                                     "contiguous",
                                                     "clone",
                                                     "flatten",
                                                     "unflatten",
                                                     "unsqueeze",
                                                     "squeeze",
                                                     "expand",
                                                     "slice",
                                                     "select",
                                                     "relu",
                                                     "neg",
                                                     "abs",
                                                     "max_pool2d",
                                                     "gelu",
                                                     "silu",
                                                     "sigmoid",
                                                     "tanh",
                                                     "hardswish",
                                                     "hardtanh",
                                                     "relu6",
                                                     "leaky_relu",
                                                     "elu",
                                                     "adaptive_avg_pool2d",
                                                     "avg_pool2d",
                                                     "batch_norm"};

/// The tensor that a follower reads first; nothing for what is none.
std::optional<value_id> followed(const node& each) {
  const auto name = aten_name(each.target);
  if (std::find(followers.begin(), followers.end(), name) == followers.end() || !single_output(each))
    return std::nullopt;
  const auto self = value_of(each, "self");
  return self ? self : value_of(each, "input");
}

/// Sums and products of two tensors.
bool joins_two(const node& each) {
  const auto name = aten_name(each.target);
  return (name == "add" || name == "sub" || name == "mul" || name == "div") && single_output(each).has_value();
}

const stored_tensor* stored_as(const graph& in, value_id id) {
  const auto found = std::find_if(in.stored.begin(), in.stored.end(), [&](const auto& each) { return each.id == id; });
  return found == in.stored.end() ? nullptr : &*found;
}

bool holds_fp32(const graph& in, value_id id) {
  if (const auto* stored = stored_as(in, id)) return stored->type == archive_fp32;
  return is_fp32(in, id);
}

class cast_writer {
 public:
  explicit cast_writer(graph& program) : program_(program), numbers_(program.values.size(), precision::fp32) {}

  void apply(const std::map<std::string, node_precision>& plan) {
    auto nodes = std::exchange(program_.nodes, {});
    for (auto& each : nodes) {
      const auto wanted = plan.find(each.name);
      const auto* product = product_of(each);
      if (wanted != plan.end() && product != nullptr && wanted->second.as != precision::fp32)
        narrow(each, *product, wanted->second.as);
      else if (!follow(each))
        widen(each);
      program_.nodes.push_back(std::move(each));
    }
    for (auto& output : program_.outputs) output.id = in_numbers(output.id, precision::fp32);
  }

 private:
  void narrow(node& product, const product_operator& how, precision as) {
    for (auto& input : product.inputs) {
      auto* read = std::get_if<reference>(&input.value);
      if (read == nullptr || std::find(how.tensors.begin(), how.tensors.end(), input.name) == how.tensors.end())
        continue;
      if (numbers_[read->id] == precision::fp32 && !holds_fp32(program_, read->id)) continue;  // a mask of booleans
      // -inf in every place of a row would make what was a tiny probability into no number.
      if (input.name == "attn_mask") read->id = bounded(read->id, as);
      read->id = in_numbers(read->id, as);
    }
    becomes(product, as);
  }

  /// Whether the node takes its tensors as they are.
  bool follow(const node& each) {
    if (const auto self = followed(each); self && numbers_[*self] != precision::fp32) {
      becomes(each, numbers_[*self]);
      return true;
    }
    if (!joins_two(each)) return false;
    const auto left = value_of(each, "self");
    const auto right = value_of(each, "other");
    if (!left) return false;
    if (!right || numbers_[*left] == numbers_[*right]) {
      const auto* other = find_argument(each, "other");
      const bool is_number =
          other != nullptr && (std::holds_alternative<double>(*other) || std::holds_alternative<std::int64_t>(*other));
      if (!right && !is_number) return false;
      becomes(each, numbers_[*left]);
      return true;
    }
    // ATen's own promotion makes these fp32, without casts in memory.
    const auto promotes = [&](value_id id) {
      const auto& meta = program_.values[id].meta;
      return meta && !meta->sizes.empty();
    };
    return (numbers_[*left] == precision::fp32 || numbers_[*right] == precision::fp32) && promotes(*left) &&
           promotes(*right) && is_fp32(program_, numbers_[*left] == precision::fp32 ? *left : *right);
  }

  void widen(node& each) {
    for (auto& input : each.inputs)
      visit_references(input.value, [&](value_id& id) { id = in_numbers(id, precision::fp32); });
  }

  void becomes(const node& made, precision as) {
    if (as == precision::fp32) return;
    const auto result = *single_output(made);
    numbers_[result] = as;
    if (program_.values[result].meta) program_.values[result].meta->type = dtype_of(as);
  }

  value_id add(const std::string& name, std::string_view target, std::vector<named_argument> inputs, precision as) {
    const auto id = add_tensor(program_, name);
    auto& meta = program_.values[id].meta;
    meta = program_.values[std::get<reference>(inputs[0].value).id].meta;
    if (meta) meta->type = dtype_of(as);
    numbers_.push_back(as);
    program_.nodes.push_back({name, std::string(target), std::move(inputs), {{false, {id}}}});
    return id;
  }

  value_id in_numbers(value_id id, precision as) {
    if (numbers_[id] == as) return id;
    const auto known = cast_.find({id, as});
    if (known != cast_.end()) return known->second;
    const auto made = add(std::string(name_of(as)) + "_of_" + program_.values[id].name, "torch.ops.aten.to.dtype",
                          {{"self", reference{id}}, {"dtype", dtype_of(as)}}, as);
    cast_.emplace(std::pair(id, as), made);
    return made;
  }

  value_id bounded(value_id id, precision as) {
    if (numbers_[id] != precision::fp32) return id;
    const auto known = bounded_.find({id, as});
    if (known != bounded_.end()) return known->second;
    // Just within the largest that rounds to a number.
    const double most = as == precision::fp16 ? 65504.0 : 3.38e38;
    const auto made = add("bounded_" + std::string(name_of(as)) + "_" + program_.values[id].name,
                          "torch.ops.aten.clamp.default", {{"self", reference{id}}, {"min", -most}}, precision::fp32);
    bounded_.emplace(std::pair(id, as), made);
    return made;
  }

  graph& program_;
  std::vector<precision> numbers_;  ///< of each value, as it is made now
  std::map<std::pair<value_id, precision>, value_id> cast_;
  std::map<std::pair<value_id, precision>, value_id> bounded_;
};

}  // namespace

std::vector<choosable_node> castable_nodes(const graph& after_passes) {
  std::vector<choosable_node> found;
  if (graph_uses(after_passes).writes()) return found;
  for (const auto& each : after_passes.nodes) {
    const auto* product = product_of(each);
    const auto result = single_output(each);
    const auto input = product == nullptr ? std::nullopt : value_of(each, product->tensors[0]);
    if (!input || !result || !is_fp32(after_passes, *result) || !holds_fp32(after_passes, *input)) continue;
    choosable_node node{each.name, 0, 0, *input, std::nullopt, {precision::fp32, precision::bf16, precision::fp16}};
    const auto weight = value_of(each, product->weight);
    if (const auto* stored = weight ? stored_as(after_passes, *weight) : nullptr;
        stored != nullptr && stored->sizes.size() >= 2) {
      node.columns = stored->sizes[0];
      node.inner = 1;
      for (std::size_t d = 1; d < stored->sizes.size(); ++d) node.inner *= stored->sizes[d];
      if (product->weight == "mat2") std::swap(node.columns, node.inner);
    }
    found.push_back(std::move(node));
  }
  return found;
}

void apply_casts(graph& after_passes, const std::map<std::string, node_precision>& nodes) {
  if (!nodes.empty()) cast_writer(after_passes).apply(nodes);
}

}  // namespace shoal::executor
