// A precision service of the simulated mesh: its mind, and in place of its threads a planner that takes time and
// sometimes fails, and a shelf of plans that all of them share.
#pragma once

#include <map>
#include <memory>

#include "precision/precision_state.hpp"
#include "unit/simulation/model_directory.hpp"
#include "unit/simulation/process.hpp"

namespace shoal::test {

class precision_process final : public process {
 public:
  precision_process(surroundings with, model_directory& models);

  void on(protocol::link_event& event) override { mind_.on(event, now()); }
  void on_wake() override { mind_.on_wake(now()); }
  [[nodiscard]] std::optional<time_point> next_wake() const override { return mind_.next_wake(); }
  [[nodiscard]] std::string left() const override { return planning_ ? "a plan that is being made" : ""; }

 private:
  void plan(protocol::planning_order order);
  void shelf(protocol::shelf_order order);

  model_directory& models_;
  std::map<protocol::plan_target, shared_plan> seen_;  ///< on the shelf, last
  bool planning_ = false;
  precision::precision_state mind_;
};

}  // namespace shoal::test
