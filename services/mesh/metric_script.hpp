// A user's script that says how good a model's answers are. It is called with one argument, a file of JSON lines: for
// each request of the data, in order, the list of its outputs (outputs_text.hpp). It prints a number, higher is better,
// as the last line of its standard output, and ends with 0.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/tensor.hpp"
#include "precision/planner.hpp"

namespace shoal::services {

/// Errors: invalid_argument (the script cannot be run, fails, prints no number, or takes longer than `seconds`: it is
/// killed then).
expected<double> score_of(const std::string& script, const std::filesystem::path& outputs, double seconds);

struct scoring {
  std::string script;
  double most_loss = 0;  ///< of fp32's score
  double seconds = 600;  ///< for one run of the script
};

/// Takes the fastest of the found plans whose score is at most `most_loss` below that of fp32, and says so in its
/// verdict; fp32 if there is none. Errors: those of running the model and of score_of.
expected<void> choose_by_score(precision::planning_result& found, const std::filesystem::path& archive,
                               const executor::device& on, const std::vector<std::vector<tensor>>& requests,
                               const scoring& by);

}  // namespace shoal::services
