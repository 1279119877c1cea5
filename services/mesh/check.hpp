// `shoal check`: says beforehand whether and how an exported model will run, as text or as JSON (README.md).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace shoal::services {

struct check_arguments {
  std::filesystem::path file;
  std::vector<std::string> inputs;  ///< NAME=DIMxDIM: the shapes to measure memory with
  bool json = false;
};

/// Prints the report and returns whether the model runs. Errors: invalid_argument, too_large (a shape that is not one,
/// or that the model does not take).
expected<bool> check_model(const check_arguments& wanted);

}  // namespace shoal::services
