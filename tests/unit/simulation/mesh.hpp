// A whole mesh in one thread under a virtual clock: clients, gateways with their doors, schedulers, workers, caches and
// precision services, a network between them, faults, and a checker of what must hold. All follows from the seed.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "unit/simulation/cache_process.hpp"
#include "unit/simulation/checker.hpp"
#include "unit/simulation/client_process.hpp"
#include "unit/simulation/gateway_process.hpp"
#include "unit/simulation/model_directory.hpp"
#include "unit/simulation/network.hpp"
#include "unit/simulation/precision_process.hpp"
#include "unit/simulation/scheduler_process.hpp"
#include "unit/simulation/stores.hpp"
#include "unit/simulation/trace.hpp"
#include "unit/simulation/worker_process.hpp"
#include "unit/simulation/world.hpp"

namespace shoal::test {

struct verdict {
  checker::history seen;
  std::vector<std::string> broken;  ///< what did not hold; empty: all did
  std::uint64_t print = 0;          ///< of all that was heard, in order
  std::vector<std::string> trace;   ///< if it was asked for
  std::size_t batches = 0;
  std::size_t again = 0;  ///< outcomes of requests of which their gateway had heard one
  double late = 0, withdrawn = 0, recalled = 0;
};

class mesh {
 public:
  mesh(const world& of, std::uint64_t seed, bool traced = false);

  verdict run();

 private:
  using kind = protocol::service_kind;
  struct node {
    kind service = kind::client;
    std::size_t number = 0;  ///< among those of its kind
    std::uint64_t lives = 0;
    profile_text profiles;  ///< a scheduler's
    cache_disk disk;        ///< a cache's
    std::unique_ptr<process> runs;
    std::optional<time_point> alarm;
    bool draining = false;
  };

  // mesh.cpp: processes
  void add(kind service, std::size_t count);
  void start(place_id place);
  [[nodiscard]] protocol::instance_id instance_of(place_id place) const {
    return (place + 1) * 1000 + nodes_[place].lives;
  }
  [[nodiscard]] std::unique_ptr<process> make(place_id place, surroundings with);
  [[nodiscard]] std::vector<place_id> all_of(std::initializer_list<kind> kinds) const;
  [[nodiscard]] std::vector<place_id> awake(kind service) const;
  void hear(place_id place, protocol::link_event what);
  void stepped(place_id place);
  void set_alarm(place_id place);
  template <class Process>
  Process& at(place_id place) {
    return dynamic_cast<Process&>(*nodes_[place].runs);
  }

  // traffic.cpp
  void begin_traffic(time_point until);
  void arrive(const world::traffic& of, time_point until);
  void ask(const world::traffic& of);
  void manage_something();
  void load_what_is_missing();

  // faults.cpp
  void begin_faults(time_point until);
  void every(double rate, time_point until, std::function<void()> what);
  void kill(place_id place, network::end how);
  void kill_one(kind service);
  void empty_memory();
  void restart_in_order(place_id place);
  void wait_for_drain(place_id place, time_point patience);
  void pause_one();
  void silence_one();

  // mesh.cpp: the end
  void settle();
  void must_be_ready();
  [[nodiscard]] std::string left() const;
  [[nodiscard]] std::string differing_plans() const;
  network::tampering tamper(place_id from, place_id to, const protocol::message& body);

  const world of_;
  timeline time_;
  network wires_;
  checker checks_;
  std::unique_ptr<tracer> tracer_;
  model_directory models_;
  std::set<protocol::request_key> heard_of_;  ///< outcomes, by gateways
  host_memory memory_;
  std::map<std::uint64_t, cache_disk*> disks_;  ///< of caches by their names
  std::deque<node> nodes_;
  time_point faults_end_;
  bool all_is_well_ = false;  ///< faults have ended
  bool is_calm_ = false;      ///< ... and it has recovered
  verdict seen_;
};

/// What goes wrong is said with the seed, and how to see it again.
verdict simulate(const world& of, std::uint64_t seed);

}  // namespace shoal::test
