// The operators a graph may call. The list is positive: pure computation of the namespace `aten`, by name. What is not
// on it is refused at load: nothing reads files, touches storage, draws random numbers, or takes the size of its
// result from the values in a tensor. So the memory a run needs follows from the shapes of its inputs, which the
// gateway has bounded. (`.item()`, one_hot without num_classes, bincount, repeat_interleave.Tensor are refused for it;
// nonzero and masked_select are bounded by their input.)
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "executor/graph.hpp"

namespace shoal::executor {

/// "torch.ops.aten.add.Tensor" -> {"aten::add", "Tensor"}; the overload "default" is empty, as the dispatcher has it.
/// Of any namespace: archives may call `aten` only (`check_allowed`), passes put operators of others in its place.
struct operator_name {
  std::string name;
  std::string overload;
};
std::optional<operator_name> parse_operator(std::string_view target);

/// The name within aten, without overload, of a node's target: "add"; empty for targets outside of aten.
std::string_view aten_name(std::string_view target);

/// In-place operators are those whose name ends in one underscore; they write to their first argument.
bool writes_in_place(std::string_view target);

/// Whether a node may be run. Errors: unsupported, naming the node and its operator.
expected<void> check_allowed(const node& candidate);

}  // namespace shoal::executor
