// The names a client sees: inputs as the exported arguments are called, outputs by the keys the module returned, else
// output_0, output_1, ... Nested arguments and results are joined by dots. From the archive's tree specifications
// (torch/utils/_pytree.py, treespec_dumps). Throws `refusal`, as the reader does.
#pragma once

#include <string>
#include <vector>

#include "executor/json_access.hpp"

namespace shoal::executor {

/// One name per leaf of the arguments, in order; empty where the archive does not name the arguments.
std::vector<std::string> input_names(const json& signature);

/// One name per leaf of the results, in order.
std::vector<std::string> output_names(const json& signature);

}  // namespace shoal::executor
