#include <algorithm>
#include <array>
#include <numeric>

#include "executor/graph_uses.hpp"
#include "executor/operators.hpp"
#include "executor/passes.hpp"

namespace shoal::executor {

namespace {

/// Operators whose single result is memory of its own, whatever their arguments. Sorted.
constexpr auto makes_new = std::to_array<std::string_view>({"adaptive_avg_pool1d",
                                                            "adaptive_avg_pool2d",
                                                            "add",
                                                            "addmm",
                                                            "avg_pool1d",
                                                            "avg_pool2d",
                                                            "baddbmm",
                                                            "batch_norm",
                                                            "bmm",
                                                            "cat",
                                                            "clamp",
                                                            "clamp_max",
                                                            "clamp_min",
                                                            "conv1d",
                                                            "conv2d",
                                                            "conv3d",
                                                            "convolution",
                                                            "div",
                                                            "elu",
                                                            "embedding",
                                                            "gelu",
                                                            "group_norm",
                                                            "hardsigmoid",
                                                            "hardswish",
                                                            "hardtanh",
                                                            "layer_norm",
                                                            "leaky_relu",
                                                            "linear",
                                                            "log_softmax",
                                                            "matmul",
                                                            "max_pool1d",
                                                            "max_pool2d",
                                                            "mean",
                                                            "mish",
                                                            "mm",
                                                            "mul",
                                                            "relu",
                                                            "relu6",
                                                            "sigmoid",
                                                            "silu",
                                                            "softmax",
                                                            "softplus",
                                                            "sub",
                                                            "sum",
                                                            "tanh"});
static_assert(std::is_sorted(makes_new.begin(), makes_new.end()));

/// In-place operators that compute what their functional form does, and have its arguments. Sorted.
constexpr auto has_functional = std::to_array<std::string_view>(
    {"add_", "clamp_", "clamp_max_", "clamp_min_", "div_", "elu_", "gelu_", "hardsigmoid_", "hardswish_", "hardtanh_",
     "leaky_relu_", "mish_", "mul_", "relu6_", "relu_", "sigmoid_", "silu_", "sub_", "tanh_"});
static_assert(std::is_sorted(has_functional.begin(), has_functional.end()));

template <std::size_t N>
bool has(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::binary_search(names.begin(), names.end(), name);
}

bool is_floating(archive_dtype type) { return type.code == 6 || type.code == 7 || type.code == 8 || type.code == 13; }

/// Whether the functional form gives the type and shape that the in-place form keeps: no argument promotes or widens.
bool keeps_type(const node& each, const graph& in, value_id target, value_id result) {
  const auto& before = in.values[target].meta;
  const auto& after = in.values[result].meta;
  if (!before || !after || before->type != after->type || before->sizes != after->sizes || !is_floating(before->type))
    return false;
  bool same = true;
  for (const auto& input : each.inputs)
    visit_references(input.value, [&](value_id id) {
      const auto& other = in.values[id];
      if (other.kind == value_kind::tensor) same = same && other.meta && other.meta->type == before->type;
    });
  return same;
}

/// "torch.ops.aten.add_.Tensor" -> "torch.ops.aten.add.Tensor"
void drop_underscore(std::string& target) {
  const auto overload = target.rfind('.');
  target.erase(overload - 1, 1);
}

}  // namespace

void functionalise(graph& program) {
  std::vector<value_id> stands_for(program.values.size());
  std::iota(stands_for.begin(), stands_for.end(), 0U);
  const auto now = [&](value_id id) {
    while (stands_for[id] != id) id = stands_for[id] = stands_for[stands_for[id]];
    return id;
  };
  std::vector<bool> is_own(program.values.size());   // memory that its node made for it
  std::vector<bool> is_seen(program.values.size());  // something that is read later may show the same memory
  for (auto& each : program.nodes) {
    for (auto& input : each.inputs) visit_references(input.value, [&](value_id& id) { id = now(id); });
    const auto name = aten_name(each.target);
    const auto result = single_output(each);
    if (name == "dropout_") {  // in evaluation it writes nothing
      drop_underscore(each.target);
      for (auto& input : each.inputs)
        if (input.name == "self") input.name = "input";
    } else if (has(has_functional, name)) {
      const auto* first = each.inputs.empty() ? nullptr : std::get_if<reference>(&each.inputs.front().value);
      if (first != nullptr && result && is_own[first->id] && !is_seen[first->id] &&
          keeps_type(each, program, first->id, *result)) {
        const auto target = first->id;
        drop_underscore(each.target);
        stands_for[target] = *result;  // who reads the old value from here on reads what was written
        is_own[*result] = true;
        continue;
      }
    }
    if (result && has(makes_new, aten_name(each.target))) {
      is_own[*result] = true;
      continue;
    }
    for (auto& input : each.inputs) visit_references(input.value, [&](value_id id) { is_seen[id] = true; });
  }
  for (auto& output : program.outputs) output.id = now(output.id);
}

}  // namespace shoal::executor
