// A gateway of the simulated mesh, and the doors in its process.
#pragma once

#include <map>

#include "gateway/gateway_state.hpp"
#include "unit/simulation/process.hpp"

namespace shoal::test {

class gateway_process final : public process {
 public:
  explicit gateway_process(surroundings with);

  void submit(std::uint64_t number, protocol::infer request);
  void withdraw(std::uint64_t number);

  void on(protocol::link_event& event) override { mind_.on(event, now()); }
  void on_wake() override { mind_.on_wake(now()); }
  [[nodiscard]] std::optional<time_point> next_wake() const override { return mind_.next_wake(); }
  void examine() override;
  [[nodiscard]] std::string left() const override;
  [[nodiscard]] std::string lacks() const override { return board_->ready(now()) ? "" : "no success of late"; }
  void drain() override { mind_.start_draining(); }

  /// Outcomes that came when a request was over already.
  [[nodiscard]] double late() { return counter("shoal_gateway_late_outcomes_total"); }

 private:
  double counter(const std::string& name);

  std::shared_ptr<gateway::board> board_ = std::make_shared<gateway::board>();
  gateway::gateway_state mind_;
  std::map<std::uint64_t, protocol::request_id> tickets_;  ///< of requests at doors, while they are open
};

}  // namespace shoal::test
