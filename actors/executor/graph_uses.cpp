#include "executor/graph_uses.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "executor/operators.hpp"

namespace shoal::executor {

namespace {

constexpr std::size_t nobody = std::numeric_limits<std::size_t>::max();

}  // namespace

graph_uses::graph_uses(const graph& of) : readers_(of.values.size()), producers_(of.values.size(), nobody) {
  for (std::size_t i = 0; i < of.nodes.size(); ++i) {
    const auto& each = of.nodes[i];
    writes_ = writes_ || (writes_in_place(each.target) && aten_name(each.target) != "detach_");
    for (const auto& input : each.inputs) visit_references(input.value, [&](value_id id) { ++readers_[id]; });
    for (const auto& output : each.outputs)
      if (!output.is_list)
        for (const auto id : output.values) producers_[id] = i;
  }
  for (const auto& output : of.outputs) ++readers_[output.id];
}

std::optional<std::size_t> graph_uses::producer(value_id id) const {
  if (producers_[id] == nobody) return std::nullopt;
  return producers_[id];
}

const argument* find_argument(const node& in, std::string_view name) {
  const auto found =
      std::find_if(in.inputs.begin(), in.inputs.end(), [&](const auto& input) { return input.name == name; });
  return found == in.inputs.end() ? nullptr : &found->value;
}

const argument* find_given(const node& in, std::string_view name) {
  const auto* found = find_argument(in, name);
  return found == nullptr || std::holds_alternative<std::monostate>(*found) ? nullptr : found;
}

std::optional<value_id> value_of(const node& in, std::string_view name) {
  const auto* found = find_argument(in, name);
  const auto* read = found == nullptr ? nullptr : std::get_if<reference>(found);
  if (read == nullptr) return std::nullopt;
  return read->id;
}

bool is_default(const node& in, std::string_view name, std::int64_t expected) {
  const auto* found = find_argument(in, name);
  if (found == nullptr || std::holds_alternative<std::monostate>(*found)) return true;
  if (const auto* real = std::get_if<double>(found)) return *real == static_cast<double>(expected);
  const auto* number = std::get_if<std::int64_t>(found);
  return number != nullptr && *number == expected;
}

std::optional<value_id> single_output(const node& of) {
  if (of.outputs.size() != 1 || of.outputs[0].is_list || of.outputs[0].values.size() != 1) return std::nullopt;
  return of.outputs[0].values[0];
}

bool is_fp32(const graph& in, value_id id) {
  const auto& of = in.values[id];
  return of.kind == value_kind::tensor && of.meta && of.meta->type == archive_fp32;
}

bool same_fp32_shape(const graph& in, value_id a, value_id b) {
  if (!is_fp32(in, a) || !is_fp32(in, b)) return false;
  const auto& left = in.values[a].meta->sizes;
  // Expressions that are not linear are equal if their text is.
  return left == in.values[b].meta->sizes;
}

value_id add_tensor(graph& to, std::string name) {
  to.values.push_back({std::move(name), value_kind::tensor, std::nullopt});
  return static_cast<value_id>(to.values.size() - 1);
}

void remove_nodes(graph& from, const std::vector<bool>& removed) {
  std::vector<node> kept;
  kept.reserve(from.nodes.size());
  for (std::size_t i = 0; i < from.nodes.size(); ++i)
    if (!removed[i]) kept.push_back(std::move(from.nodes[i]));
  from.nodes = std::move(kept);
}

}  // namespace shoal::executor
