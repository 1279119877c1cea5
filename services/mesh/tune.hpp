// `shoal tune`: plans the precisions of a model's nodes on this machine, shows what speed costs, and leaves the plan
// beside the archive, where workers find it (README.md).
#pragma once

#include <filesystem>
#include <string>

#include "core/error.hpp"

namespace CLI {
class App;
}

namespace shoal::services {

struct tune_arguments {
  std::string model;  ///< FILE.pt2, or name or name/version in `models`
  std::filesystem::path models = "models";
  std::string data;    ///< requests as JSON lines; empty: seeded inputs
  std::string metric;  ///< a script that scores outputs; empty: the error of outputs alone
  double most_loss = 0.001;
  double metric_seconds = 600;
  double budget = 0.03;
  double seconds = 60;
  int threads = 1;
  std::string device = "cpu";
  std::string policy = "measured";  ///< or bf16, rule, fp32: what is written
  std::string html;                 ///< a page with the trade-off drawn
  bool writes = true;
  bool json = false;
};

void declare_tune(CLI::App& verb, tune_arguments& given);

/// Errors: not_found (the model, the data), invalid_argument (the data, the budget), and those of planning.
expected<void> tune_model(const tune_arguments& given);

}  // namespace shoal::services
