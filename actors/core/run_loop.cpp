#include "core/run_loop.hpp"

#include <caf/scheduler/abstract_coordinator.hpp>

namespace shoal {

namespace {
constexpr std::size_t messages_per_turn = 128;
}

run_loop::run_loop(caf::actor_system& system, std::function<void()> wake)
    : caf::execution_unit(&system), wake_(std::move(wake)) {}

run_loop::~run_loop() { stop(); }

void run_loop::exec_later(caf::resumable* job) {
  {
    std::lock_guard lock(mutex_);
    if (!stopped_) {
      ready_.push_back(job);
      if (ready_.size() > 1) return;  // whoever pushed the first has woken the loop
    } else {
      system().scheduler().enqueue(job);
      return;
    }
  }
  wake_();
}

bool run_loop::run() {
  {
    std::lock_guard lock(mutex_);
    running_.swap(ready_);
  }
  for (auto* job : running_) {
    switch (job->resume(this, messages_per_turn)) {
      case caf::resumable::resume_later: exec_later(job); break;
      case caf::resumable::done:
      case caf::resumable::awaiting_message:
      case caf::resumable::shutdown_execution_unit: caf::intrusive_ptr_release(job); break;
    }
  }
  running_.clear();
  std::lock_guard lock(mutex_);
  return !ready_.empty();
}

void run_loop::stop() {
  std::vector<caf::resumable*> left;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    left.swap(ready_);
  }
  for (auto* job : left) system().scheduler().enqueue(job);
}

}  // namespace shoal
