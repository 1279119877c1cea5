// Schedulers and workers, unchanged, under a virtual clock and over a network that delays, breaks and loses; a gateway
// that sends each request to the scheduler of its model and, if that is lost, to another. Seeded: the same world and
// seed give the same run.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/clock.hpp"
#include "protocol/messages.hpp"

namespace shoal::test {

struct simulated_world {
  std::size_t schedulers = 2, workers = 20;
  /// A model for each scheduler; what it is asked for, of what all workers together can do.
  std::vector<double> load{0.4, 0.4};
  /// Of each model's requests; empty: a third of each class.
  std::vector<std::vector<protocol::priority>> classes;
  double breaks = 0;            ///< of connections, a second, of all of them
  double worker_deaths = 0;     ///< a second, of all workers; another comes at once
  double scheduler_deaths = 0;  ///< a second, of all schedulers; another comes after half a second
  double seconds = 4;           ///< for so long requests come
  microseconds time_left{2'000'000};
};

struct simulated_history {
  std::size_t asked = 0, answered = 0, refused = 0, expired = 0;
  std::size_t wrong_ends = 0;            ///< failures that are neither refusals nor the deadline
  std::size_t again = 0;                 ///< outcomes of requests that had one
  std::size_t late = 0;                  ///< of those whose deadline was over
  std::size_t unheard = 0;               ///< requests left at the end
  std::size_t overlapping = 0;           ///< batches given to a worker's compute thread while another ran
  std::vector<std::size_t> answered_of;  ///< by model
  std::vector<std::map<protocol::priority, microseconds>> longest;  ///< from arrival to answer, by model and class
  double withdrawn = 0, recalled = 0;
  std::size_t batches = 0;
  std::uint64_t print = 0;  ///< of all that was delivered, in order
};

simulated_history simulate(const simulated_world& world, std::uint64_t seed);

}  // namespace shoal::test
