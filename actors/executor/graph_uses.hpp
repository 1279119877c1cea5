// Who makes and who reads each value of a graph: what a pass must know before it takes a value away. Made anew for each
// pass, since a pass changes the graph. No LibTorch.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "executor/graph.hpp"

namespace shoal::executor {

class graph_uses {
 public:
  explicit graph_uses(const graph& of);

  /// How often nodes read it, and once more for each output it is.
  [[nodiscard]] std::size_t readers(value_id id) const { return readers_[id]; }

  /// The place of the node that makes it; nothing for inputs, weights and elements of lists.
  [[nodiscard]] std::optional<std::size_t> producer(value_id id) const;

  /// Whether any node writes in place. Passes then leave the graph as it is: a value might change between the place
  /// where it was read and the place where the fused node reads it.
  [[nodiscard]] bool writes() const { return writes_; }

 private:
  std::vector<std::size_t> readers_;
  std::vector<std::size_t> producers_;
  bool writes_ = false;
};

const argument* find_argument(const node& in, std::string_view name);

/// The argument if it is given and is not None.
const argument* find_given(const node& in, std::string_view name);

/// The value an argument reads; nothing if it is absent or no single value.
std::optional<value_id> value_of(const node& in, std::string_view name);

/// Absent, None or the number.
bool is_default(const node& in, std::string_view name, std::int64_t expected);

/// The one value the node makes; nothing if it makes a list or several.
std::optional<value_id> single_output(const node& of);

/// A tensor whose elements are fp32, as the exporter recorded it (archive ScalarType 7).
bool is_fp32(const graph& in, value_id id);
inline constexpr archive_dtype archive_fp32{7};

/// Both fp32 tensors of sizes that are the same for every request.
bool same_fp32_shape(const graph& in, value_id a, value_id b);

/// A new value, shaped like nothing the exporter saw.
value_id add_tensor(graph& to, std::string name);

/// Removes the marked nodes; the others keep their order.
void remove_nodes(graph& from, const std::vector<bool>& removed);

}  // namespace shoal::executor
