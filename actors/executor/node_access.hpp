// Reading a node's arguments, and who reads and makes a value: what passes ask again and again. Plain functions over
// the graph, without LibTorch; a missing argument is absent, as operators' schemas give most of them defaults.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "executor/graph.hpp"
#include "executor/operators.hpp"

namespace shoal::executor {

/// PyTorch's archive code of float32 (torch/_export/serde/schema.py, ScalarType).
inline constexpr archive_dtype archive_float32{7};

inline const argument* find_argument(const node& in, std::string_view name) {
  const auto found =
      std::find_if(in.inputs.begin(), in.inputs.end(), [&](const auto& input) { return input.name == name; });
  return found == in.inputs.end() ? nullptr : &found->value;
}

/// The argument if it is given and is not None.
inline const argument* find_given(const node& in, std::string_view name) {
  const auto* found = find_argument(in, name);
  return found == nullptr || std::holds_alternative<std::monostate>(*found) ? nullptr : found;
}

/// The value an argument names, or nothing if it is a literal or absent.
inline std::optional<value_id> find_value(const node& in, std::string_view name) {
  const auto* found = find_argument(in, name);
  const auto* named = found == nullptr ? nullptr : std::get_if<reference>(found);
  return named == nullptr ? std::nullopt : std::optional(named->id);
}

/// The node's only result, or nothing if it has several or a list.
inline std::optional<value_id> only_result(const node& in) {
  if (in.outputs.size() != 1 || in.outputs[0].is_list || in.outputs[0].values.size() != 1) return std::nullopt;
  return in.outputs[0].values[0];
}

/// Whether a node writes to memory that another value may show.
inline bool any_writes(const graph& in) {
  return std::any_of(in.nodes.begin(), in.nodes.end(), [](const node& each) {
    return writes_in_place(each.target) && aten_name(each.target) != "detach_";
  });
}

/// How often each value is read, by nodes or as an output of the graph.
inline std::vector<std::uint32_t> count_readers(const graph& in) {
  std::vector<std::uint32_t> readers(in.values.size());
  for (const auto& output : in.outputs) ++readers[output.id];
  for (const auto& each : in.nodes)
    for (const auto& input : each.inputs) visit_references(input.value, [&](value_id id) { ++readers[id]; });
  return readers;
}

/// A new value, shaped like nothing the exporter saw.
inline value_id add_tensor(graph& to, std::string name) {
  to.values.push_back({std::move(name), value_kind::tensor, std::nullopt});
  return static_cast<value_id>(to.values.size() - 1);
}

}  // namespace shoal::executor
