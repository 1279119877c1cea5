// Arithmetic on sizes: the targets `_operator.*`, `math.*` and `torch.sym_*` that PyTorch writes between operators
// (torch/_export/serde/serialize.py: _SYM_OPS), with Python's meaning: division rounds down, `/` gives a real number.
// Includes LibTorch.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include <ATen/core/ivalue.h>

namespace shoal::executor {

/// Computes a node from its arguments. Throws std::domain_error (division by zero, overflow, wrong kinds).
using scalar_operator = c10::IValue (*)(std::span<const c10::IValue>);

struct scalar_operator_entry {
  std::string_view target;
  std::size_t arguments;
  scalar_operator compute;
};

/// Nothing if there is no such operator.
const scalar_operator_entry* find_scalar_operator(std::string_view target) noexcept;

}  // namespace shoal::executor
