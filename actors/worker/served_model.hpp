// A model as the mesh sees it: the graph of model.hpp under its public names, with model.toml applied, warmed
// up, and run for batches of requests. Owned by the loader until it is prepared, then by the compute thread.
#pragma once

#include <memory>

#include "core/clock.hpp"
#include "protocol/actors.hpp"
#include "worker/model.hpp"

namespace shoal::worker {

class served_model {
 public:
  /// `prepare`, then `make_ready`, on the calling thread.
  static expected<std::unique_ptr<served_model>> load(const protocol::load& request, object_source* objects = nullptr,
                                                      const device& on = {});

  /// Loads <folder>/model.pt2 and applies model.toml; nothing is run. Weights come from `objects` where it has them;
  /// null: from the archive. Errors: those of model::load, apply_model_toml.
  static expected<std::unique_ptr<served_model>> prepare(const protocol::load& request,
                                                         object_source* objects = nullptr, const device& on = {});

  /// On the thread that will run it: warms the model up and verifies a declared padding on the graph itself. Errors:
  /// those of model::run; invalid_argument (padding changes the answers).
  expected<void> make_ready();

  [[nodiscard]] const protocol::model_spec& spec() const noexcept { return spec_; }

  /// What it is warmed up with: every free dimension of size 2 or the nearest that it takes, filled with ones.
  [[nodiscard]] std::vector<tensor> sample_inputs() const;

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
  steady::duration input_time_{};  ///< of the batch that runs
  steady::duration output_time_{};
};

}  // namespace shoal::worker
