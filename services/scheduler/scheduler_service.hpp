// The scheduler as a service: its actor over a link that gateways and workers reach.
#pragma once

#include <caf/actor_system.hpp>

#include "core/config.hpp"
#include "scheduler/scheduler_actor.hpp"
#include "services/host/access_settings.hpp"
#include "services/host/node.hpp"

namespace shoal::services {

struct scheduler_settings {
  std::vector<std::string> listen = {"tcp://127.0.0.1:8003"};
  std::string metrics = "127.0.0.1:9003";
  int max_padding_percent = 10;
  int fixed_share_percent = 2;
  std::string profiles = "profiles.json";
  scheduler::scheduler_options scheduler;
  access_settings access;

  /// Its own section; [access] is declared apart, once for all services of a process.
  void declare(config& keys);
};

class scheduler_service {
 public:
  static expected<std::unique_ptr<scheduler_service>> start(caf::actor_system& system,
                                                            const scheduler_settings& settings);
  ~scheduler_service();

  [[nodiscard]] std::vector<std::string> endpoints() const { return node_->endpoints(); }
  void stop();

 private:
  scheduler_service() = default;

  caf::actor_system* system_ = nullptr;
  std::unique_ptr<node> node_;
  protocol::scheduler_actor actor_;
};

}  // namespace shoal::services
