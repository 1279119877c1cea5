// A cache of the simulated mesh: its mind, and the real storage (cache/storage.hpp) over tiers in memory, whose jobs
// take time and are done in order.
#pragma once

#include <deque>

#include "cache/cache_state.hpp"
#include "cache/storage.hpp"
#include "unit/simulation/process.hpp"
#include "unit/simulation/stores.hpp"

namespace shoal::test {

class cache_process final : public process {
 public:
  cache_process(surroundings with, cache_disk& disk, host_memory& memory);

  void on(protocol::link_event& event) override { mind_.on(event, now()); }
  void on_wake() override { mind_.on_wake(now()); }
  [[nodiscard]] std::optional<time_point> next_wake() const override { return mind_.next_wake(); }
  void examine() override;
  [[nodiscard]] std::string left() const override { return jobs_.empty() ? "" : "jobs of a cache's storage"; }
  void crash() override;

 private:
  void begin_next();

  cache_disk& disk_;
  host_memory& memory_;
  cache::storage tiers_;
  std::deque<protocol::object_job> jobs_;  ///< the first is under way
  bool working_ = false;
  cache::cache_state mind_;
};

}  // namespace shoal::test
