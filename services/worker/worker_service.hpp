// The worker as a service: its actor and compute thread over a link that goes out to the schedulers and gateways.
#pragma once

#include <caf/actor_system.hpp>

#include "core/config.hpp"
#include "services/host/access_settings.hpp"
#include "services/host/node.hpp"
#include "worker/worker_actor.hpp"

namespace shoal::services {

struct worker_settings {
  std::string models = "models";
  std::vector<std::string> schedulers = {"tcp://127.0.0.1:8003"};
  std::vector<std::string> gateways = {"tcp://127.0.0.1:8002"};
  std::vector<std::string> caches;
  std::vector<std::string> planners;
  std::string dram = "/dev/shm/shoal";
  std::string metrics = "127.0.0.1:9004";
  int threads = 1;
  std::string cores;  ///< "0-3,8", "auto": those it may use; empty: wherever the system likes
  int primitive_cache = 256;
  std::string device = "cpu";
  std::string precision = "measured";
  int shadow_percent = 2;
  std::size_t plan_memory_mib = 0;
  bool recompute = false;
  milliseconds drain{10000};
  worker::worker_options worker;
  access_settings access;

  /// Its own section; [access] is declared apart, once for all services of a process.
  void declare(config& keys);
};

class worker_service {
 public:
  static expected<std::unique_ptr<worker_service>> start(caf::actor_system& system, const worker_settings& settings);
  ~worker_service();

  /// Model versions in the directory, whether they can be served or not.
  [[nodiscard]] std::size_t models_found() const { return models_found_; }

  /// Finishes its batches (at most settings.drain), then says goodbye.
  void stop();

 private:
  worker_service() = default;

  caf::actor_system* system_ = nullptr;
  milliseconds drain_{};
  std::size_t models_found_ = 0;
  std::unique_ptr<node> node_;
  protocol::compute_actor compute_;
  protocol::loader_actor loader_;
  protocol::worker_actor actor_;
  std::shared_ptr<worker::cache_client> caches_;  ///< null: none configured
};

}  // namespace shoal::services
