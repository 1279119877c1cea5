// A model as the mesh sees it: the graph of model.hpp under its public names, with model.toml applied, warmed
// up, and run for batches of requests. Owned by the compute thread.
#pragma once

#include <memory>

#include "core/clock.hpp"
#include "protocol/actors.hpp"
#include "worker/model.hpp"

namespace shoal::worker {

class served_model {
 public:
  /// Loads <folder>/model.pt2, applies model.toml, verifies a declared padding on the graph itself and warms it up.
  /// Errors: those of model::load and apply_model_toml; invalid_argument (padding changes the answers).
  /// Weights come from `objects` where it has them; null: from the archive.
  static expected<std::unique_ptr<served_model>> load(const protocol::load& request, object_source* objects = nullptr,
                                                      const device& on = {});

  [[nodiscard]] const protocol::model_spec& spec() const noexcept { return spec_; }

  /// Runs the members of `batch` together, or one by one if together they fail. `batch` is not set in the answer.
  protocol::computed run(const protocol::compute& batch);

 private:
  using member_inputs = std::vector<const std::vector<tensor>*>;

  served_model(std::unique_ptr<model> graph, protocol::model_spec spec)
      : graph_(std::move(graph)), spec_(std::move(spec)) {}

  expected<std::vector<std::vector<tensor>>> run_together(const member_inputs& members);
  expected<void> warm_up();
  expected<void> verify_padding();

  std::unique_ptr<model> graph_;
  protocol::model_spec spec_;
};

}  // namespace shoal::worker
