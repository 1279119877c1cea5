// The precision service: its actor and its two threads over a link that workers reach.
#pragma once

#include <caf/actor_system.hpp>

#include "core/config.hpp"
#include "precision/precision_actor.hpp"
#include "services/host/access_settings.hpp"
#include "services/host/node.hpp"

namespace shoal::services {

struct precision_settings {
  std::vector<std::string> listen = {"tcp://127.0.0.1:8006"};
  std::vector<std::string> schedulers;
  std::string metrics = "127.0.0.1:9006";
  std::string models = "models";
  std::string policy = "measured";
  double budget = 0.03;
  double seconds = 60;
  std::size_t samples = 32;
  int threads = 1;
  std::string device = "cpu";
  access_settings access;

  /// Its own section; [access] is declared apart, once for all services of a process.
  void declare(config& keys);
};

class precision_service {
 public:
  /// Errors: invalid_argument (a setting), an address in use.
  static expected<std::unique_ptr<precision_service>> start(caf::actor_system& system,
                                                            const precision_settings& settings);
  ~precision_service();

  [[nodiscard]] std::vector<std::string> endpoints() const { return node_->endpoints(); }
  /// A plan under way is given up.
  void stop();

 private:
  precision_service() = default;

  caf::actor_system* system_ = nullptr;
  std::unique_ptr<node> node_;
  protocol::planner_actor planner_;
  protocol::shelf_actor shelf_;
  protocol::precision_actor actor_;
};

}  // namespace shoal::services
