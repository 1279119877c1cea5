// One address that this service keeps reaching for: a DEALER socket that is thrown away and made anew, after a
// back-off, each time its connection is lost, so that a peer which comes back is a fresh one and nothing of the old one
// can come out of a queue. While nobody listens yet, ZeroMQ itself tries again. Belongs to the poll thread.
#pragma once

#include <memory>
#include <random>
#include <string>

#include "core/clock.hpp"
#include "link/options.hpp"
#include "link/socket.hpp"

namespace shoal::link {

/// A ZeroMQ socket, its monitor, and what the poller said about them.
struct line {
  line(std::shared_ptr<context> shared, int type, std::uint64_t token)
      : talk(shared, type), watch(std::move(shared), talk, type == ZMQ_ROUTER), token(token) {}

  socket talk;
  monitor watch;
  std::uint64_t token;         ///< of `talk` in the poller; that of `watch` is one more
  bool asks_for_keys = false;  ///< whoever connects has shown one that is let in
  // Both true at first: ZeroMQ signals only what comes after a socket was once found empty.
  bool may_have_more = true;  ///< read `talk` before waiting
  bool may_have_lost = true;  ///< ask `watch` before waiting
};

access::role role_of(protocol::service_kind kind) noexcept;
constexpr bool may_administer(access::role who) noexcept { return who == access::role::admin; }
/// Whether a key of this role may say HELLO as a `kind`.
inline bool may_be(access::role who, protocol::service_kind kind) noexcept {
  return who == role_of(kind) || (kind == protocol::service_kind::client && may_administer(who));
}

struct dialer {
  enum class state { waiting, connecting, greeting, up };

  dialer(protocol::service_kind kind, std::string endpoint) : kind(kind), endpoint(std::move(endpoint)) {}

  /// Makes the socket and begins to connect; each time after a failure with the next key that its peer may have.
  /// Errors: permission_denied (there is none), invalid_argument.
  expected<void> dial(const options& own, std::shared_ptr<context> shared, std::uint64_t token, std::int64_t max_frame);
  /// How long to wait after the loss of a connection: doubling, up to half of it more by chance, so that peers that
  /// lost the same service do not come back all at once.
  milliseconds next_delay(const options& own, std::mt19937_64& random);

  protocol::service_kind kind;
  std::string endpoint;
  state now = state::waiting;
  time_point due{};            ///< waiting: dial then; greeting: give up then
  unsigned failures = 0;       ///< in a row
  std::string server_key;      ///< that its peer has; empty: in the clear
  protocol::peer_id peer = 0;  ///< while up
  bool retired = false;        ///< its address is gone: ends with its connection
  std::string complaint;       ///< the refusal logged last, so that each is logged once
  std::unique_ptr<line> wire;  ///< not while waiting
};

}  // namespace shoal::link
