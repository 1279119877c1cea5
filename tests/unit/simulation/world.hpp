// What a simulated world is like: how many of what, what is asked of it, what goes wrong. A swarm: `draw` makes a small
// world of a seed, with some faults and without others, so that thousands of them meet what one large world with all of
// them would hide (Groce et al., Swarm testing, ISSTA 2012).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "protocol/messages.hpp"
#include "unit/simulation/network.hpp"

namespace shoal::test {

/// Harm that is done on purpose, to find out whether the checker sees it.
enum class sabotage : std::uint8_t {
  none,
  outcomes_twice,    ///< the network says some outcomes to clients twice
  neighbours_row,    ///< workers give a request the answer of the next one in its batch
  other_version,     ///< workers answer by another version than they were asked for
  late_clients,      ///< clients do not hear their alarm
  unsettled_credit,  ///< the link keeps the credit of what went another way
  forgetful_cache,   ///< a cache that dies loses what it had acknowledged
  swapped_bytes,     ///< the memory tier has the bytes of another object under a name, with a checksum that is right
  lossy_when_calm,   ///< the network loses one message in a hundred, though connections stay
};

struct world {
  std::size_t clients = 1, gateways = 1, schedulers = 1, workers = 2, caches = 0, planners = 0;

  struct traffic {
    std::string model;
    double rate = 100;  ///< requests a second
    std::vector<protocol::priority> classes{protocol::priority::standard};
    double at_doors = 0.3;                   ///< part that comes through a gateway's door
    std::vector<std::uint64_t> versions{1};  ///< that lie in the directory from the start
  };
  std::vector<traffic> models{{}};
  milliseconds least_time{20}, most_time{500};  ///< that requests have
  std::int64_t most_rows = 3;
  double given_up = 0;      ///< part of the requests that their client takes back
  double poison = 0;        ///< part of the requests that end whoever computes them
  double managed = 0;       ///< loads and unloads a second
  double seconds = 1.5;     ///< for so long requests come
  double calm_seconds = 0;  ///< after faults have ended and all have recovered, for so long requests come that must be
                            ///< answered
  double calm_rate = 20;    ///< and so many a second of each model, at most

  // What computing takes: fixed + per_token * rows * longest, with 10% of noise.
  microseconds fixed_cost{300};
  double per_token_us = 20;
  double slow_worker = 0;  ///< times slower the last worker is; 0: it is not

  network_options wires;
  std::uint32_t credit_messages = 1024;  ///< that gateways and schedulers grant
  std::size_t max_requests = 4096;       ///< of a gateway
  std::uint64_t inline_bytes = 64 << 10;
  std::size_t max_queue = 1024;   ///< of a scheduler, for one model
  std::uint64_t cache_pages = 8;  ///< of memory, for objects that take one each

  // A second, over the whole world.
  double breaks = 0, silences = 0, pauses = 0;
  double client_deaths = 0, gateway_deaths = 0, scheduler_deaths = 0, worker_deaths = 0, cache_deaths = 0,
         planner_deaths = 0;
  double memory_losses = 0;  ///< the host's memory tier is emptied, or damaged
  double power_losses = 0;   ///< part of the deaths of which no kernel tells
  double orderly_ends = 0;   ///< part of the deaths of workers and gateways that are restarts in order
  milliseconds longest_pause{4500};
  milliseconds restart_after{500};  ///< at most
  double failures = 0;              ///< part of the batches that fail as a whole
  double breaches = 0;              ///< part of the batches after which a plan is given up
  double disk_errors = 0;           ///< part of the cache's disk writes
  sabotage harm = sabotage::none;
};

/// In a line, for people.
std::string to_text(const world& of);

/// Any faults.
world draw_for_safety(std::uint64_t seed);
/// Faults that end; then all is well, and load is moderate.
world draw_for_liveness(std::uint64_t seed);

}  // namespace shoal::test
