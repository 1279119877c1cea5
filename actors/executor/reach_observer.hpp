// Notes what the inputs of int8 nodes reach in a run (node_reach.hpp), from the scales that lie beside the bytes.
#pragma once

#include "executor/node_reach.hpp"
#include "executor/program.hpp"

namespace shoal::executor {

class reach_observer final : public run_observer {
 public:
  /// Adds to `seen`, which must outlive the runs.
  explicit reach_observer(reaches& seen) : seen_(seen) {}

  void before(const instruction& next, const std::vector<c10::IValue>& arguments) override;
  void after(const instruction&, const std::vector<c10::IValue>&) override {}

 private:
  reaches& seen_;
};

}  // namespace shoal::executor
