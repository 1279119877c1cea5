// A model as the mesh sees it: the graph of model.hpp under its public names, with model.toml applied, warmed
// up, and run for batches of requests. Owned by the loader until it is prepared, then by the compute thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "executor/model.hpp"
#include "executor/object_source.hpp"
#include "protocol/actors.hpp"
#include "worker/shadow.hpp"

namespace shoal::worker {

/// What numbers a model computes in.
enum class precision_policy : std::uint8_t {
  measured,  ///< as the plan for this device says that lies beside the archive (executor/precision_plan.hpp); else fp32
  fp32,
};

/// Errors: invalid_argument, naming what there is.
expected<precision_policy> parse_precision_policy(std::string_view name);

/// How models are loaded.
struct loading {
  int threads = 1;  ///< the compute thread's: what is chosen at load depends on how many will run it
  executor::device on = {};
  std::shared_ptr<executor::object_source> objects =
      nullptr;  ///< weights come from here where it has them; null: from archives
  precision_policy precision = precision_policy::measured;
  double shadow_share = 0.02;  ///< of the compute time, for comparing a plan's answers with fp32's; 0: none
};

/// What a comparison of a plan's answer with fp32's has found (worker/shadow.hpp).
struct watched {
  std::string epoch;  ///< of the plan
  double error = 0;   ///< over the last samples
  std::size_t samples = 0;
  bool is_breach = false;  ///< the model computes in fp32 from now on
};

class served_model {
 public:
  /// `prepare`, then `make_ready`, on the calling thread.
  static expected<std::unique_ptr<served_model>> load(const protocol::load& request, const loading& how = {});

  /// Loads <folder>/model.pt2 and applies model.toml; nothing is run. A plan that cannot be used is logged, with why,
  /// and the model computes in fp32. Errors: those of model::load, apply_model_toml.
  static expected<std::unique_ptr<served_model>> prepare(const protocol::load& request, const loading& how = {});

  /// On the thread that will run it: warms the model up and verifies a declared padding on the graph itself. Errors:
  /// those of model::run; invalid_argument (padding changes the answers).
  expected<void> make_ready();

  [[nodiscard]] const protocol::model_spec& spec() const noexcept { return spec_; }
  /// Of the plan that it computes by (precision_plan::epoch).
  [[nodiscard]] const std::string& epoch() const noexcept { return epoch_; }

  /// What it is warmed up with: every free dimension of size 2 or the nearest that it takes, filled with ones.
  [[nodiscard]] std::vector<tensor> sample_inputs() const;

  /// If a request of the last batch was put aside for it: runs that in fp32, too, and compares. After a breach the
  /// model computes in fp32. To be called when the batch has been answered.
  std::optional<watched> watch();

  /// Runs the members of `batch` together, or one by one if together they fail. `batch` is not set in the answer.
  protocol::computed run(const protocol::compute& batch);

 private:
  using member_inputs = std::vector<const std::vector<tensor>*>;

  served_model(std::unique_ptr<executor::model> graph, protocol::model_spec spec, std::string epoch)
      : graph_(std::move(graph)), spec_(std::move(spec)), epoch_(std::move(epoch)) {}

  void give_plan_up();
  void put_aside(const protocol::compute& batch, const protocol::computed& answer, steady::duration took);

  expected<std::vector<std::vector<tensor>>> run_together(const member_inputs& members);
  expected<void> warm_up();
  expected<void> verify_padding();

  std::unique_ptr<executor::model> graph_;
  protocol::model_spec spec_;
  std::string epoch_;
  // Only with a plan:
  std::unique_ptr<executor::model> exact_;  ///< the same in fp32
  std::optional<shadow> shadow_;
  struct sample {
    std::vector<tensor> inputs;
    std::vector<tensor> outputs;
  };
  std::optional<sample> aside_;
  std::size_t turn_ = 0;           ///< which member is put aside
  steady::duration input_time_{};  ///< of the batch that runs
  steady::duration output_time_{};
};

}  // namespace shoal::worker
