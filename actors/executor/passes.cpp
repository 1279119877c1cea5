#include "executor/passes.hpp"

#include <algorithm>
#include <numeric>

#include "executor/operators.hpp"

namespace shoal::executor {

namespace {

const argument* find(const node& in, std::string_view name) {
  const auto found =
      std::find_if(in.inputs.begin(), in.inputs.end(), [&](const auto& input) { return input.name == name; });
  return found == in.inputs.end() ? nullptr : &found->value;
}

bool is_absent(const argument* value) { return value == nullptr || std::holds_alternative<std::monostate>(*value); }

bool is_absent_or(const argument* value, std::int64_t expected) {
  const auto* number = is_absent(value) ? nullptr : std::get_if<std::int64_t>(value);
  return is_absent(value) || (number != nullptr && *number == expected);
}

bool is_absent_or_false(const argument* value) {
  const auto* flag = is_absent(value) ? nullptr : std::get_if<bool>(value);
  return is_absent(value) || (flag != nullptr && !*flag);
}

bool is_metadata_assert(std::string_view name) {
  return name == "_assert_tensor_metadata" || name == "sym_constrain_range" || name == "sym_constrain_range_for_size";
}

/// `to` and `_to_copy` that ask for nothing but the type their input has.
bool converts_nothing(const node& candidate, const graph& in) {
  for (const auto& input : candidate.inputs) {
    if (input.name == "self" || input.name == "dtype" || input.name == "device") continue;
    if (input.name == "layout" || input.name == "pin_memory" || input.name == "non_blocking") continue;
    if (!is_absent_or_false(&input.value)) return false;  // copy, memory_format, other
  }
  const auto* source = std::get_if<reference>(&candidate.inputs.front().value);
  const auto* type = find(candidate, "dtype");
  if (source == nullptr) return false;
  if (is_absent(type)) return true;
  const auto* wanted = std::get_if<archive_dtype>(type);
  const auto& meta = in.values[source->id].meta;
  return wanted != nullptr && meta && meta->type == *wanted;
}

bool keeps_everything(const node& slice) {
  const auto* end = find(slice, "end");
  const auto* number = is_absent(end) ? nullptr : std::get_if<std::int64_t>(end);
  return is_absent_or(find(slice, "start"), 0) && is_absent_or(find(slice, "step"), 1) &&
         (is_absent(end) || (number != nullptr && *number == std::numeric_limits<std::int64_t>::max()));
}

/// Whether the node's result is its first argument, unchanged.
bool passes_through(const node& candidate, const graph& in, bool copies_matter) {
  const auto name = aten_name(candidate.target);
  if (name == "dropout" || name == "feature_dropout" || name == "alpha_dropout" || name == "feature_alpha_dropout")
    return true;  // in evaluation: check_allowed saw to it
  if (name == "alias" || name == "detach" || name == "detach_" || name == "lift" || name == "lift_fresh") return true;
  if (name == "to") return converts_nothing(candidate, in);
  if (name == "slice") return keeps_everything(candidate);
  if (copies_matter) return false;
  if (name == "_to_copy") return converts_nothing(candidate, in);
  if (name == "clone") return is_absent(find(candidate, "memory_format"));
  return name == "lift_fresh_copy" || name == "alias_copy" || name == "detach_copy";
}

}  // namespace

void drop_no_ops(graph& program) {
  const bool copies_matter = std::any_of(program.nodes.begin(), program.nodes.end(), [](const node& each) {
    return writes_in_place(each.target) && aten_name(each.target) != "detach_";
  });
  std::vector<value_id> stands_for(program.values.size());
  std::iota(stands_for.begin(), stands_for.end(), 0U);
  std::vector<node> kept;
  kept.reserve(program.nodes.size());
  for (auto& each : program.nodes) {
    for (auto& input : each.inputs) visit_references(input.value, [&](value_id& id) { id = stands_for[id]; });
    if (is_metadata_assert(aten_name(each.target))) continue;
    const auto* source = each.inputs.empty() ? nullptr : std::get_if<reference>(&each.inputs.front().value);
    const bool single = each.outputs.size() == 1 && !each.outputs[0].is_list && each.outputs[0].values.size() == 1;
    if (source != nullptr && single && passes_through(each, program, copies_matter)) {
      stands_for[each.outputs[0].values[0]] = source->id;
      continue;
    }
    kept.push_back(std::move(each));
  }
  program.nodes = std::move(kept);
  for (auto& output : program.outputs) output.id = stands_for[output.id];
}

void drop_dead_nodes(graph& program) {
  std::vector<bool> read(program.values.size());
  for (const auto& output : program.outputs) read[output.id] = true;
  std::vector<node> kept;
  for (auto each = program.nodes.rbegin(); each != program.nodes.rend(); ++each) {
    bool alive = writes_in_place(each->target) || aten_name(each->target).starts_with("_assert");
    for (const auto& output : each->outputs)
      for (const auto id : output.values) alive = alive || read[id];
    if (!alive) continue;
    for (auto& input : each->inputs) visit_references(input.value, [&](value_id id) { read[id] = true; });
    kept.push_back(std::move(*each));
  }
  std::reverse(kept.begin(), kept.end());
  program.nodes = std::move(kept);
}

}  // namespace shoal::executor
