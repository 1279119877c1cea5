// The limit that Shoal is measured against: a chain of bare ZeroMQ sockets with the same topology and the same hops, in
// which every stage only moves frames.
//
//   small   client -> gateway -> scheduler -> worker -> gateway -> client
//   large   client -> gateway -> worker -> gateway -> client        (the way a fetched payload and its answer take)
//
// As in Shoal, each stage that is reached has one ROUTER, and connects with a DEALER to each stage it reaches.
#pragma once

#include <string>

namespace shoal::bench {

struct relay_addresses {
  std::string gateway;  ///< for clients
  std::string inner;    ///< for the worker: the gateway again
  std::string scheduler;
};

/// Runs one stage ("gateway", "scheduler" or "worker") in this thread until the process ends.
void run_relay_stage(void* context, const std::string& stage, const relay_addresses& addresses);

/// A stage each over ipc in `folder` (one process per stage), or all over inproc in this process ("all").
void run_relay(const std::string& stage, const std::string& folder);

/// Where a client reaches the relay of `folder`.
std::string relay_endpoint(const std::string& folder);

}  // namespace shoal::bench
