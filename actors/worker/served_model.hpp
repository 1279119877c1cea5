// A model as the mesh sees it: the graph of model.hpp under its public names, with model.toml applied, warmed
// up, and run for batches of requests. Owned by the loader until it is prepared, then by the compute thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
  double shadow_share = 0.02;     ///< of the compute time, for comparing a plan's answers with fp32's; 0: none
  std::uint64_t plan_memory = 0;  ///< bytes that a further plan may take while plans change; 0: half of what is free
  bool recomputes = false;        ///< batches by which a plan is seen to err more than it promised, before they leave
};

/// What a comparison of a plan's answer with fp32's has found (worker/shadow.hpp).
struct watched {
  std::string epoch;  ///< of the plan
  double error = 0;   ///< over the last samples
  double budget = 0;  ///< of it
  std::size_t samples = 0;
  std::string node;            ///< whose input was beyond what it reached at calibration, if that was why
  bool is_breach = false;      ///< the model computes in fp32 from now on
  std::vector<tensor> inputs;  ///< of a breach: of the request that was compared last
};

class served_model {
 public:
  using shared_plan = std::shared_ptr<const executor::precision_plan>;

  /// `prepare`, then `make_ready`, on the calling thread.
  static expected<std::unique_ptr<served_model>> load(const protocol::load& request, const loading& how = {});

  /// Loads <folder>/model.pt2 and applies model.toml; nothing is run. A plan that cannot be used is logged, with why,
  /// and the model computes in fp32. Errors: those of model::load, apply_model_toml.
  static expected<std::unique_ptr<served_model>> prepare(const protocol::load& request, const loading& how = {});

  /// On the loader's thread, while the model serves: the graph by that plan. Null: the plan is fp32. Errors: those of
  /// model::load; too_large (there is no room for two plans).
  static expected<std::shared_ptr<executor::model>> prepare_plan(const protocol::replan& request, const loading& how);

  /// On the thread that will run it: warms the model up and verifies a declared padding on the graph itself. Errors:
  /// those of model::run; invalid_argument (padding changes the answers).
  expected<void> make_ready();

  [[nodiscard]] const protocol::model_spec& spec() const noexcept { return spec_; }
  /// Of the plan that it computes by (precision_plan::epoch).
  [[nodiscard]] const std::string& epoch() const noexcept { return epoch_; }
  /// Null: it never had one. After a breach still the one that was given up.
  [[nodiscard]] const shared_plan& plan() const noexcept { return plan_; }
  /// What plans have to be for. Without a device: it follows none.
  [[nodiscard]] const protocol::plan_target& target() const noexcept { return target_; }

  /// From the next batch on it computes by that plan, once what `prepare_plan` made is warm. Errors: those of
  /// make_ready; then it goes on as before.
  expected<void> change_plan(shared_plan plan, std::shared_ptr<executor::model> graph);

  /// What it is warmed up with: every free dimension of size 2 or the nearest that it takes, filled with ones.
  [[nodiscard]] std::vector<tensor> sample_inputs() const;

  /// If a request of the last batch was put aside for it: runs that in fp32, too, and compares. After a breach the
  /// model computes in fp32. To be called when the batch has been answered.
  std::optional<watched> watch();

  /// Runs the members of `batch` together, or one by one if together they fail. `batch` is not set in the answer.
  protocol::computed run(const protocol::compute& batch);

 private:
  using member_inputs = std::vector<const std::vector<tensor>*>;

  served_model(std::shared_ptr<executor::model> exact, protocol::model_spec spec)
      : exact_(std::move(exact)), graph_(exact_), spec_(std::move(spec)) {}

  void give_plan_up();
  [[nodiscard]] bool is_watched_closely();
  void look_at_reach(const executor::reaches& seen, const std::vector<tensor>& inputs, std::vector<tensor>& outputs);
  void put_aside(const protocol::compute& batch, const protocol::computed& answer, steady::duration took);

  expected<std::vector<std::vector<tensor>>> run_together(const member_inputs& members);
  expected<void> prove();
  expected<void> warm_up();
  expected<void> verify_padding();

  void compute_by(shared_plan plan, std::shared_ptr<executor::model> graph);

  std::shared_ptr<executor::model> exact_;  ///< in fp32
  std::shared_ptr<executor::model> graph_;  ///< what answers; `exact_` unless a plan has narrow numbers
  protocol::model_spec spec_;
  protocol::plan_target target_;
  shared_plan plan_;
  std::string epoch_ = "fp32";
  double shadow_share_ = 0;
  bool recomputes_ = false;
  bool is_watched_ = false;       ///< what runs is somebody's
  bool is_apart_ = false;         ///< the batch that runs: its members run one by one
  bool was_recomputed_ = false;   ///< the batch that runs: its answers are fp32's
  std::optional<shadow> shadow_;  ///< only with a plan
  struct sample {
    std::vector<tensor> inputs;
    std::vector<tensor> outputs;
    std::string node;  ///< as in `watched`
  };
  std::optional<sample> aside_;
  std::size_t turn_ = 0;     ///< which member is put aside
  std::size_t batches_ = 0;  ///< of the plan
  time_point last_alarm_;
  steady::duration input_time_{};  ///< of the batch that runs
  steady::duration output_time_{};
  bool is_sample_ = false;  ///< the batch that runs: its joined inputs are kept
  std::vector<tensor> gathered_;
};

}  // namespace shoal::worker
