// An actor system that runs only when it is told to, on the calling thread, under a virtual clock.
#pragma once

#include <memory>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include "core/clock.hpp"

namespace shoal::test {

class virtual_system {
 public:
  virtual_system() {
    config_.set("scheduler.policy", caf::atom("testing"));
    system_ = std::make_unique<caf::actor_system>(config_);
  }

  caf::actor_system& system() { return *system_; }
  caf::scheduler::test_coordinator& scheduler() {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system_->scheduler());
  }

  /// Lets actors work until nothing is left to do at this time.
  void run() { scheduler().run(); }

  void advance(steady::duration by) {
    scheduler().advance_time(by);
    run();
  }
  time_point now() { return scheduler().clock().now(); }

 private:
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
};

}  // namespace shoal::test
