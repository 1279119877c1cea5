// The planner: finds the fastest plan of a model on this device whose error stays within a budget, by measuring.
//
//   1. Each precision's time per node, at the shapes of the samples (casts and quantisation included).
//   2. Each choice's error per node: the model's outputs with that one node changed, against fp32's.
//   3. A knapsack over both (knapsack.hpp): errors of nodes are near enough independent that their squares add up.
//   4. The plan as a whole, end to end: its error decides whether the knapsack may take more or must take less, its
//      time whether it is worth anything. What gains less than 2% is "fp32", which is a result, too.
//
// On GPUs, whose kernels are ATen's, the choices are bf16 and fp16 between casts (executor/passes_casts.hpp).
//
// Smoothing and clipping of weights are choices like others. Runs on the calling thread (and its team of compute
// threads), for up to about `seconds` of its processor time; throws nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/tensor.hpp"
#include "executor/device.hpp"
#include "executor/precision_plan.hpp"

namespace shoal::precision {

struct planning {
  std::string policy = "measured";  ///< or `bf16`, `rule`: as planning_result::policies says
  /// Of the outputs against fp32's: |difference| / |fp32's|, both as root mean squares over all samples; the largest
  /// of all outputs. A cosine of about 1 - error^2 / 2.
  double budget = 0.03;
  double seconds = 60;
  executor::device on;      ///< prepare_device first
  bool own_kernels = true;  ///< false: ATen's alone, as on GPUs, where it makes no difference
  /// Inputs of executions as traffic has them, in the order of the model's inputs. Empty: seeded ones.
  std::vector<std::vector<tensor>> samples;
  executor::calibration samples_are = executor::calibration::data;  ///< unless there are none
  bool leaves_out_unusable = false;  ///< samples that the model does not take; else they are an error
  bool draws_curve = false;          ///< measures plans for other budgets and by other policies, too, while time lasts
  std::function<void(std::string_view phase, double share)> progress = [](std::string_view, double) {};
  std::function<bool()> is_wanted = [] { return true; };  ///< asked before each run; false: it ends with `cancelled`
};

/// One choice for one node, as it was measured.
struct measured_choice {
  executor::node_precision choice;
  double gain = 0;   ///< of the whole model's time in fp32, as a share; the mean over the shapes
  double error = 0;  ///< of the outputs if this is all that is changed
};

struct measured_node {
  std::string name;
  std::int64_t columns = 0;
  std::int64_t inner = 0;
  double share = 0;  ///< of the model's time in fp32
  std::vector<measured_choice> choices;
};

struct planning_result {
  executor::precision_plan plan;
  std::vector<executor::precision_plan> curve;  ///< from fp32 on, to larger errors; empty: not asked for
  /// By policies that do not measure, measured: `bf16` (every node that can), and `rule`, the published table (matrix
  /// products in int8 if the model comes quantised, else fp16). Empty: not asked for.
  std::vector<executor::precision_plan> policies;
  std::vector<measured_node> nodes;
  std::string verdict;  ///< a sentence: what was gained, or why it is fp32
};

/// Errors: those of model::load; invalid_argument (a sample that the model does not take or that gives no finite
/// outputs in fp32, or another policy); cancelled.
expected<planning_result> plan_precision(const std::filesystem::path& archive, const planning& how);

/// That plan with its worst nodes back in fp32: as few as bring it within `how.budget` on the samples, which it was
/// found to be beyond. Errors: likewise.
expected<planning_result> mend_plan(const std::filesystem::path& archive, const executor::precision_plan& plan,
                                    const planning& how);

}  // namespace shoal::precision
