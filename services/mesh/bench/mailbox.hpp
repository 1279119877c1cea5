// Outcomes on their way from a target's own threads to the engine's.
#pragma once

#include <condition_variable>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

#include "services/mesh/bench/target.hpp"

namespace shoal::services::bench {

class mailbox {
 public:
  void put(ended one) {
    bool first = false;
    {
      std::lock_guard lock(mutex_);
      first = held_.empty();
      held_.push_back(std::move(one));
    }
    if (first) filled_.notify_one();
  }

  void take(time_point until, std::vector<ended>& into) {
    std::unique_lock lock(mutex_);
    filled_.wait_until(lock, until, [this] { return !held_.empty(); });
    into.insert(into.end(), std::make_move_iterator(held_.begin()), std::make_move_iterator(held_.end()));
    held_.clear();
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::vector<ended> held_;
};

}  // namespace shoal::services::bench
