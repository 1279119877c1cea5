// An exported graph as Shoal keeps it: plain data, without JSON and without LibTorch, so that reading, passes and the
// signature are light to compile and to test. Every value is defined once and before its use (the reader checks it).
// A value is an index into `graph::values`; the executor uses it as the index of a slot in its frame.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "core/error.hpp"

namespace shoal::executor {

using value_id = std::uint32_t;

enum class value_kind : std::uint8_t { tensor, integer, real, boolean };

/// A size: scale * symbol + offset. A fixed size has an empty symbol and scale 0. Other expressions keep only their
/// text (sympy's srepr) and are not `linear`.
struct size_expression {
  bool linear = true;
  std::int64_t scale = 0;
  std::int64_t offset = 0;
  std::string symbol;
  std::string text;

  [[nodiscard]] bool is_fixed() const noexcept { return linear && symbol.empty(); }
  bool operator==(const size_expression&) const = default;
};

/// The archive's ScalarType (torch/_export/serde/schema.py), which is not c10's.
struct archive_dtype {
  std::int64_t code = 0;
  bool operator==(const archive_dtype&) const = default;
};
struct archive_layout {
  std::int64_t code = 0;
};
struct archive_memory_format {
  std::int64_t code = 0;
};
struct archive_device {
  std::string type;
};

struct tensor_meta {
  archive_dtype type;
  std::vector<size_expression> sizes;
};

struct value {
  std::string name;
  value_kind kind = value_kind::tensor;
  std::optional<tensor_meta> meta;  ///< what the exporter saw; tensors only
};

struct reference {
  value_id id = 0;
};
using item = std::variant<std::monostate, reference, std::int64_t, double, bool>;
struct item_list {
  std::vector<item> items;
};
using argument = std::variant<std::monostate, reference, std::int64_t, double, bool, std::string, archive_dtype,
                              archive_layout, archive_memory_format, archive_device, item_list>;

struct named_argument {
  std::string name;  ///< as in the operator's schema
  argument value;
};

/// What a node returns in one place: a value, or a list of them (split, unbind, ...).
struct node_output {
  bool is_list = false;
  std::vector<value_id> values;
};

struct node {
  std::string name;
  std::string target;  ///< "torch.ops.aten.linear.default", "_operator.mul"
  std::vector<named_argument> inputs;
  std::vector<node_output> outputs;
};

/// A parameter, buffer or constant: a strided view of a record, in elements.
struct stored_tensor {
  value_id id = 0;
  std::string name;    ///< "encoder.layer.0.output.dense.weight"
  std::string record;  ///< "data/weights/weight_3"
  archive_dtype type;
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;
  std::int64_t offset = 0;
};

struct named_value {
  value_id id = 0;
  std::string name;  ///< public: the argument's or the returned key's
};

struct symbol_range {
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
};

struct graph {
  std::vector<value> values;
  std::vector<stored_tensor> stored;
  std::vector<named_value> inputs;
  std::vector<named_value> outputs;
  std::vector<node> nodes;
  std::unordered_map<std::string, symbol_range> symbols;
};

/// Why a part of a model cannot be run.
struct refused_part {
  std::string node;    ///< empty: it is not about a node
  std::string target;  ///< the node's operator
  error reason;
};

/// Calls `visit(value_id&)` for every value that an argument reads.
template <class Argument, class Visit>
void visit_references(Argument& argument, Visit&& visit) {
  if (auto* single = std::get_if<reference>(&argument)) visit(single->id);
  if (auto* list = std::get_if<item_list>(&argument))
    for (auto& element : list->items)
      if (auto* inner = std::get_if<reference>(&element)) visit(inner->id);
}

}  // namespace shoal::executor
