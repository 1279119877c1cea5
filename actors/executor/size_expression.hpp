// Sizes in the archive are sympy expressions printed by srepr: "Add(Mul(Integer(2), Symbol('s23', integer=True)),
// Integer(-1))". Only what is linear in one symbol is understood; the rest keeps its text.
#pragma once

#include <string_view>

#include "executor/graph.hpp"

namespace shoal::executor {

/// Never fails: an expression that is not understood is not `linear`.
size_expression parse_size(std::string_view text);

}  // namespace shoal::executor
