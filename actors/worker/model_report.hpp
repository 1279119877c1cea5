// Whether and how a model will run, said before it is served: what `shoal check` prints. Loads the model as a worker
// would, without a cache, and runs it with ones. Called on a thread of its own, like model::load.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/tensor.hpp"
#include "executor/graph_report.hpp"
#include "executor/model.hpp"

namespace shoal::worker {

/// What a run with ones needed.
struct measured_run {
  std::vector<std::pair<std::string, shape>> inputs;
  std::optional<error> failure;   ///< what the model said to ones of these shapes; none: it ran
  std::uint64_t first_bytes = 0;  ///< the pool's after a run without a memory plan: activations of the first run
  std::uint64_t arena_bytes = 0;  ///< what the memory plan of these shapes needs: activations of the runs that follow
};

struct model_report {
  executor::graph_report graph;  ///< with everything that is refused, model.toml included
  bool has_toml = false;         ///< a model.toml lies beside the file and was applied to graph.spec
  bool padding_verified = false;
  // Of a model that loads:
  std::optional<executor::model::figures> figures;
  executor::node_kinds kinds;       ///< as run: after the passes and folding
  std::optional<measured_run> run;  ///< none: it was not reached

  [[nodiscard]] bool runs() const noexcept { return graph.refused.empty() && figures.has_value(); }
};

/// `shapes`: per input name (of the exported graph, or as model.toml renames it) the sizes to measure with; inputs that
/// share a symbol follow. What is not given is 2, or the nearest that its range allows.
/// Errors: invalid_argument (a shape the model does not take), too_large (its inputs do not fit into memory). That the
/// model does not run is not an error but the report.
expected<model_report> report_on(const std::filesystem::path& file, const std::map<std::string, shape>& shapes = {},
                                 const executor::pass_options& passes = {});

}  // namespace shoal::worker
