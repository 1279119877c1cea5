// One node, ready to run: its operator resolved, its constant arguments built, the rest described as slots to read.
// Includes LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include "core/error.hpp"
#include "executor/graph.hpp"
#include "executor/scalar_operators.hpp"

namespace shoal::executor {

inline constexpr value_id no_value = std::numeric_limits<value_id>::max();

/// Where one argument comes from when the node runs.
struct argument_source {
  enum class form : std::uint8_t {
    constant,          ///< `constant`
    copied,            ///< the slot's value
    moved,             ///< the same, and this is its last use
    real,              ///< the slot's integer as a real number
    wrapped_number,    ///< the slot's number as the tensor that an operator on tensors takes for it
    integers,          ///< a list: `slots`, or where there is none, the element of `constant`
    reals,             ///< likewise
    tensors,           ///< likewise
    optional_tensors,  ///< likewise
  };
  form how = form::constant;
  value_id slot = no_value;
  c10::IValue constant;
  std::vector<value_id> slots;
};

struct result_target {
  bool is_list = false;
  value_kind kind = value_kind::tensor;
  std::vector<value_id> slots;  ///< no_value: nobody reads it
};

struct instruction {
  std::optional<c10::OperatorHandle> operation;       ///< an operator of ATen, or
  const scalar_operator_entry* arithmetic = nullptr;  ///< arithmetic on sizes
  std::vector<argument_source> arguments;
  std::vector<result_target> results;
  std::vector<value_id> ends;  ///< slots whose last reader this is and which it does not move
  bool writes_in_place = false;
  std::size_t source = 0;  ///< the node's place in the graph it was built from
  std::string name;        ///< of the exported node
  std::string target;      ///< of the exported node
};

/// Values known at load: weights, and results of folded nodes. None: not known.
using known_values = std::vector<c10::IValue>;

/// What the archive makes on the CPU is made on `device` instead. Numbers that stand for tensors stay on the CPU:
/// ATen's operators take them from there on every device. Errors: unsupported (no such operator, an argument or result
/// its schema does not have), naming the node.
expected<instruction> make_instruction(const node& from, const graph& in, const known_values& known,
                                       c10::Device device = c10::DeviceType::CPU);

/// Whether everything the instruction reads is known.
bool is_constant(const instruction& candidate) noexcept;

}  // namespace shoal::executor
