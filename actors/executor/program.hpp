// A graph prepared to run: a flat list of instructions over a frame of slots, one slot per value. Includes LibTorch.
//
// Each node is a boxed call of the ATen dispatcher, so a run does what eager PyTorch does under inference_mode, node
// by node. A value's slot is emptied at its last use, so that its memory is free for the next node.
// Owned by the model, used by one thread at a time. `run` throws nothing.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include "core/error.hpp"
#include "executor/graph.hpp"
#include "executor/instruction.hpp"

namespace shoal::executor {

class derived_tensors;

/// Sees each node as it runs: for measuring and for what calibration looks at. Called on the thread that runs.
class run_observer {
 public:
  virtual ~run_observer() = default;
  virtual void before(const instruction& next, const std::vector<c10::IValue>& arguments) = 0;
  virtual void after(const instruction& done, const std::vector<c10::IValue>& results) = 0;
};

class program {
 public:
  /// `weights` are in the order of from.stored. Folding runs the nodes whose arguments are all known, now.
  /// Errors: unsupported, naming the node: an operator LibTorch does not have as the archive calls it, a node that
  /// writes to a weight; internal: a folded node that failed. What packs a weight is asked of `derived` first (may be
  /// null), and given to it if it had to be run.
  /// Weights are on `device`, and so is what the nodes make.
  static expected<program> build(const graph& from, const std::vector<at::Tensor>& weights, bool fold,
                                 derived_tensors* derived = nullptr, c10::Device device = c10::DeviceType::CPU);

  /// Every node of a graph after the passes that `build` would refuse, without weights and without running anything.
  static std::vector<refused_part> refusals(const graph& from);

  /// Runs all instructions; `inputs` and the result are in the graph's order.
  /// Errors: invalid_argument (an index out of range), too_large (memory), internal; all name the node.
  expected<std::vector<at::Tensor>> run(const std::vector<at::Tensor>& inputs);

  /// Null: nobody, which costs nothing. Must outlive the runs.
  void observe(run_observer* observer) noexcept { observer_ = observer; }

  [[nodiscard]] std::size_t size() const noexcept { return instructions_.size(); }
  [[nodiscard]] std::map<std::string, std::size_t> kinds() const;
  /// Bytes of what folding made and the instructions hold (packed weights, mostly), without the weights' own.
  [[nodiscard]] std::uint64_t made_bytes() const noexcept { return made_bytes_; }

  /// Inputs that a node writes to: the caller gives a copy.
  [[nodiscard]] const std::vector<bool>& written_inputs() const noexcept { return written_inputs_; }

 private:
  program() = default;
  std::vector<refused_part> check_writes(const graph& from);
  void measure_constants();
  void plan_ends();
  void execute(const instruction& next);
  [[nodiscard]] c10::IValue argument(const argument_source& from);
  void check_target(const instruction& next) const;
  void store(const instruction& next);

  std::vector<instruction> instructions_;
  std::vector<c10::IValue> frame_;
  std::vector<c10::IValue> stack_;
  std::vector<value_id> inputs_;
  std::vector<value_id> outputs_;
  known_values known_outputs_;             ///< per output: its value if it was known at load
  std::vector<c10::Storage> weights_;      ///< held if something writes: an address in use is nobody else's
  std::vector<const void*> read_only_;     ///< their addresses, sorted
  std::vector<const void*> request_only_;  ///< storages of the current run's inputs
  std::vector<bool> written_inputs_;
  std::uint64_t made_bytes_ = 0;
  run_observer* observer_ = nullptr;
};

}  // namespace shoal::executor
