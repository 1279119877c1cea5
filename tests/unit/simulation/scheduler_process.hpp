// A scheduler of the simulated mesh, with its profiles in memory.
#pragma once

#include "scheduler/scheduler_state.hpp"
#include "unit/simulation/process.hpp"
#include "unit/simulation/stores.hpp"

namespace shoal::test {

class scheduler_process final : public process {
 public:
  /// `kept` outlives it.
  scheduler_process(surroundings with, profile_text& kept);

  void on(protocol::link_event& event) override { mind_.on(event, now()); }
  void on_wake() override { mind_.on_wake(now()); }
  [[nodiscard]] std::optional<time_point> next_wake() const override { return mind_.next_wake(); }
  void examine() override;
  [[nodiscard]] std::string left() const override;
  void crash() override { profiles_.crash(); }

  [[nodiscard]] double recalled();

 private:
  remembered_profiles profiles_;
  scheduler::scheduler_state mind_;
};

}  // namespace shoal::test
