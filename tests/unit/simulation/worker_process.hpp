// A worker of the simulated mesh: its mind, and in place of its two threads a loader that takes time and a compute
// thread that does one thing after another.
#pragma once

#include <deque>
#include <map>
#include <set>

#include "unit/simulation/cache_user.hpp"
#include "unit/simulation/model_directory.hpp"
#include "unit/simulation/process.hpp"
#include "worker/worker_state.hpp"

namespace shoal::test {

class worker_process final : public process {
 public:
  /// `slower`: times that computing takes of what it takes elsewhere.
  worker_process(surroundings with, model_directory& models, double slower, const host_memory& memory,
                 const std::map<std::uint64_t, cache_disk*>& disks);

  void on(protocol::link_event& event) override {
    if (!caches_.on(event)) mind_.on(event, now());
  }
  void on_wake() override { mind_.on_wake(now()); }
  [[nodiscard]] std::optional<time_point> next_wake() const override { return mind_.next_wake(); }
  void examine() override;
  [[nodiscard]] std::string left() const override { return mind_.idle() ? "" : "a batch at a worker"; }
  [[nodiscard]] std::string lacks() const override { return *ready_ ? "" : "a model, or a scheduler"; }
  void drain() override { mind_.start_draining(); }

  /// By which plan each model computes.
  [[nodiscard]] std::map<std::pair<std::string, std::uint64_t>, std::string> epochs() const;
  [[nodiscard]] double withdrawn();
  [[nodiscard]] std::size_t batches() const { return batches_; }

 private:
  using model_key = std::pair<std::string, std::uint64_t>;

  worker::worker_state::compute_port threads();
  void find(const protocol::lookup& what);
  void load(const protocol::load& what);
  void replan(const protocol::replan& what);
  void start(protocol::compute job);
  void breach(const protocol::compute& job);
  protocol::computed compute(const protocol::compute& job);
  /// A thread: does one thing after another.
  struct thread {
    struct task {
      steady::duration takes;
      std::function<void()> then;
    };
    std::deque<task> tasks;
    bool works = false;
  };
  void give(thread& to, steady::duration takes, std::function<void()> then);
  void work(thread& on);

  model_directory& models_;
  const double slower_;
  std::shared_ptr<std::atomic<bool>> ready_ = std::make_shared<std::atomic<bool>>(false);
  cache_user caches_;
  worker::worker_state mind_;
  std::map<model_key, shared_plan> loaded_;  ///< and the plan that each computes by; null: none
  thread loader_, compute_;
  bool computing_ = false;
  std::size_t batches_ = 0;
};

}  // namespace shoal::test
