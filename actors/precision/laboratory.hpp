// A model on the bench: run with any choice of precisions, timed node by node, compared with itself in fp32. LibTorch
// stays behind this header. One thread at a time; throws nothing.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/tensor.hpp"
#include "executor/device.hpp"
#include "executor/node_reach.hpp"
#include "executor/passes_precision.hpp"
#include "protocol/model.hpp"

namespace shoal::precision {

using node_choices = std::map<std::string, executor::node_precision>;

/// Seconds of one run: of each node the least of several, by its name; of the whole their sum and the least of what is
/// beside them, so that a run in which others had the processor spoils nothing. On GPUs, where nodes are waited for one
/// by one to be timed, the whole is the least of runs that nobody looks at.
struct run_times {
  double whole = 0;
  std::map<std::string, double> nodes;
};

class laboratory {
 public:
  /// Reads the archive and prepares it with all passes that the device has, or without those of our own kernels.
  /// Errors: those of model::load. `is_wanted` is asked before each run; false: whatever is under way ends with
  /// `cancelled`.
  static expected<std::unique_ptr<laboratory>> open(
      const std::filesystem::path& archive, const executor::device& on = {}, bool own_kernels = true,
      std::function<bool()> is_wanted = [] { return true; });
  virtual ~laboratory() = default;

  [[nodiscard]] virtual const protocol::model_spec& spec() const noexcept = 0;
  /// The graph as exported: for inputs that fit it.
  [[nodiscard]] virtual const executor::graph& exported() const noexcept = 0;
  /// archive::fingerprint, in hexadecimal digits.
  [[nodiscard]] virtual const std::string& model() const noexcept = 0;
  [[nodiscard]] virtual const std::vector<executor::choosable_node>& nodes() const noexcept = 0;

  /// What everything is measured with from now on. Runs them in fp32. Errors: invalid_argument (the model does not take
  /// one, or gives no finite outputs for it; `leaves_out`: all of them).
  virtual expected<void> use(const std::vector<std::vector<tensor>>& samples, bool leaves_out = false) = 0;
  [[nodiscard]] virtual std::size_t samples() const noexcept = 0;
  [[nodiscard]] virtual std::vector<shape> shapes(std::size_t sample) const = 0;

  /// The largest magnitude in each channel of a node's input, over all samples; for each node in `nodes()`'s order.
  /// Of linears that can be int8.
  [[nodiscard]] virtual const std::vector<std::vector<float>>& input_ranges() const noexcept = 0;
  /// What a node's input is within, over all samples and with 0; likewise. Empty (0 to 0) for a node that takes no
  /// range.
  [[nodiscard]] virtual const std::vector<executor::value_range>& value_ranges() const noexcept = 0;
  /// The largest magnitude in each channel (column) of a node's weight, likewise.
  [[nodiscard]] virtual std::vector<float> weight_ranges(std::size_t node) const = 0;

  /// Of the outputs against fp32's over the first `count` samples (planning::budget says what it is); infinity if an
  /// output is not finite.
  virtual expected<double> error(const node_choices& choices, std::size_t count) = 0;

  /// What the inputs of int8 nodes reach over all samples.
  virtual expected<executor::reaches> reach(const node_choices& choices) = 0;

  /// For each sample in `which` and each of `choices`, taking turns, for about `seconds` of processor time in all:
  /// times[c][s].
  virtual expected<std::vector<std::vector<run_times>>> time(const std::vector<node_choices>& choices,
                                                             const std::vector<std::size_t>& which, double seconds) = 0;
};

}  // namespace shoal::precision
