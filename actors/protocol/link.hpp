// The port through which actors reach other services. actors/link implements it over ZeroMQ; tests and the simulation
// implement it in memory, so that the same actors run under a virtual clock and a faulty network.
//
// A link belongs to one service. It tells its events, in order per peer, to one sink (the service's actor): a peer is
// up, messages from it, the peer is down. After `peer_down` nothing more comes from that peer; the same process that
// comes back is another peer with a fresh id.
#pragma once

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "core/error.hpp"
#include "protocol/messages.hpp"

namespace shoal::protocol {

/// Local to a link, never used twice.
using peer_id = std::uint64_t;

enum class service_kind : std::uint8_t { client, gateway, scheduler, worker, cache, precision };

std::string_view name_of(service_kind kind) noexcept;

/// Protocol versions this release speaks. A rolling upgrade has two releases side by side, so each speaks that of the
/// one before, too, and no message that came later is sent to a peer of the older version.
///   1: the first   2: reports of gateways, statistics and parts of the compute time in outcomes
///   3: places of workers are leased; staged batches can be recalled; completions count what failed
///   4: precision services: plans, samples, breaches; outcomes name the plan they were computed by
///   5: few bytes of tensors follow the envelope in its own frame
inline constexpr std::uint32_t oldest_protocol = 1;
inline constexpr std::uint32_t newest_protocol = 5;

struct peer_up {
  peer_id peer = 0;
  service_kind service = service_kind::client;
  instance_id instance = 0;
  std::uint64_t epoch = 0;  ///< microseconds since 1970 at which that process started
  std::vector<std::string> capabilities;
  std::uint32_t version = newest_protocol;  ///< that both sides speak
  bool administers = true;                  ///< a client: it may load and unload models
};

struct peer_down {
  peer_id peer = 0;
  error reason;  ///< cancelled: it said goodbye; anything else: it was lost
};

struct delivery {
  peer_id from = 0;
  message body;
};

using link_event = std::variant<peer_up, peer_down, delivery>;

/// Called on the link's own thread, one event at a time; must not block.
using event_sink = std::function<void(link_event)>;

class link {
 public:
  virtual ~link() = default;

  /// Hands `body` to `to` without waiting. Takes link credit for `infer` and gives it back with the `outcome` of the
  /// same id from that peer, or with `settle`. Callable from any thread.
  /// Errors: unavailable (no such peer any more), overloaded (no credit left, or too much waits to be written),
  /// too_large (more than the peer said it takes).
  virtual expected<void> send(peer_id to, message body) = 0;

  /// Gives back the credit of request `id`, sent to or received from `peer`, when its outcome went another way than
  /// over this connection. Both sides say so, each for its own account. Unknown ids are ignored.
  virtual void settle(peer_id peer, request_id id) = 0;
};

}  // namespace shoal::protocol
