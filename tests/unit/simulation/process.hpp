// One service of a simulated world: a mind, as it is, and what it needs around it. Lives from its start to its crash;
// what outlives it lies in its place (stores.hpp).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/metrics.hpp"
#include "protocol/link.hpp"
#include "unit/simulation/checker.hpp"
#include "unit/simulation/network.hpp"
#include "unit/simulation/world.hpp"

namespace shoal::test {

/// What a process is given by the mesh that it is part of.
struct surroundings {
  const world& of;
  timeline& time;
  network& wires;
  checker& checks;
  const bool& all_is_well;  ///< faults have ended
  place_id place = 0;
  protocol::instance_id instance = 0;
  std::function<void()> stepped;  ///< to be called after whatever the mind was told, but by the link or its alarm
  std::function<void()> die;      ///< it crashes, soon
};

class process {
 public:
  explicit process(surroundings with) : with_(std::move(with)), way_(with_.wires.port(with_.place)) {}
  virtual ~process() = default;
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  virtual void on(protocol::link_event& event) = 0;
  virtual void on_wake() = 0;
  [[nodiscard]] virtual std::optional<time_point> next_wake() const = 0;
  /// After every step: whether what it holds is within bounds.
  virtual void examine() {}
  /// It holds nothing of anybody's; what it holds yet, otherwise.
  [[nodiscard]] virtual std::string left() const { return {}; }
  /// Why it cannot serve; empty: it can.
  [[nodiscard]] virtual std::string lacks() const { return {}; }
  /// It is about to be destroyed as by SIGKILL: nothing of it reaches a store any more.
  virtual void crash() {}
  virtual void drain() {}

 protected:
  [[nodiscard]] time_point now() const { return with_.time.now(); }
  protocol::link& way() { return *way_; }
  /// In this life, not while it is paused.
  void later(steady::duration wait, std::function<void()> what) {
    with_.wires.later(with_.place, wait, [this, what = std::move(what)] {
      what();
      with_.stepped();
    });
  }

  surroundings with_;
  metrics figures_;

 private:
  std::unique_ptr<protocol::link> way_;
};

}  // namespace shoal::test
