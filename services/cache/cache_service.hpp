// The cache as a service: its tiers, its actor and its storage thread over a link that workers reach.
#pragma once

#include <caf/actor_system.hpp>

#include "cache/cache_actor.hpp"
#include "core/config.hpp"
#include "services/host/access_settings.hpp"
#include "services/host/claimed_folder.hpp"
#include "services/host/node.hpp"

namespace shoal::services {

struct cache_settings {
  std::vector<std::string> listen = {"tcp://127.0.0.1:8005"};
  std::vector<std::string> schedulers;
  std::string metrics = "127.0.0.1:9005";
  std::string ssd = "cache";
  std::string dram = "/dev/shm/shoal";
  std::size_t dram_mib = 0;
  cache::cache_options cache;
  access_settings access;

  /// Its own section; [access] is declared apart, once for all services of a process.
  void declare(config& keys);
};

class cache_service {
 public:
  /// Opens the tiers and takes over what is there before anybody can ask. Errors: those of storage::open, an address in
  /// use, a budget that makes no sense.
  static expected<std::unique_ptr<cache_service>> start(caf::actor_system& system, const cache_settings& settings);
  ~cache_service();

  [[nodiscard]] std::vector<std::string> endpoints() const { return node_->endpoints(); }
  void stop();

 private:
  cache_service() = default;

  caf::actor_system* system_ = nullptr;
  std::unique_ptr<node> node_;
  protocol::storage_actor storage_;
  claimed_folder folder_;
  protocol::cache_actor actor_;
};

}  // namespace shoal::services
