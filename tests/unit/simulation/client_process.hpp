// A client of the simulated mesh: link::client_state with the policy that the SDK gives it.
#pragma once

#include <map>
#include <set>

#include "link/client_state.hpp"
#include "unit/simulation/process.hpp"

namespace shoal::test {

class client_process final : public process {
 public:
  explicit client_process(surroundings with);

  void submit(std::uint64_t number, protocol::infer request, milliseconds within);
  void give_up(std::uint64_t number);
  /// The answer, or why there is none, comes once; `heard` is told.
  void manage(protocol::manage what, milliseconds within, std::function<void(bool)> heard);

  void on(protocol::link_event& event) override;
  void on_wake() override;
  [[nodiscard]] std::optional<time_point> next_wake() const override { return mind_.next(); }
  [[nodiscard]] std::string left() const override;
  [[nodiscard]] std::string lacks() const override { return mind_.connected() ? "" : "no gateway"; }

 private:
  void tell();

  link::client_state mind_;
  std::map<std::uint64_t, protocol::request_id> ids_;  ///< of requests by their numbers, while they are open
  std::set<std::pair<protocol::peer_id, protocol::request_id>> answered_;
};

}  // namespace shoal::test
