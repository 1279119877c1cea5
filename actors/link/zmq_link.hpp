// The link of one service over ZeroMQ: inproc://, ipc:// and tcp:// alike. actors/link is the only owner of sockets,
// and Cap'n Proto ends in it; README of schemas/ tells the protocol.
//
// One poll thread owns all sockets (engine.hpp); events and `after_poll` are called on it. Every public member may be
// called from any thread, except that `stop` and the destructor must not be called from the poll thread.
//
// Order of use: construct, `bind`, `start`, `connect`; `stop` ends it. Failure of a peer is an event, never an error
// here; errors here are addresses that cannot be used.
#pragma once

#include <memory>

#include "core/clock.hpp"
#include "link/options.hpp"

namespace shoal::link {

class zmq_link final : public protocol::link {
 public:
  explicit zmq_link(options own);
  ~zmq_link() override;

  /// Listens on options::bind. Errors: unavailable (an address in use), invalid_argument.
  expected<void> bind();
  /// What `bind` listens on, in its order, with the ports that were given.
  [[nodiscard]] const std::vector<std::string>& endpoints() const noexcept;

  /// From now on events are told. `after_poll` is called once in every round after them, and before what was sent is
  /// written; it returns true if it has more to do at once. There an actor can run in place.
  void start(protocol::event_sink sink, std::function<bool()> after_poll = {});

  /// Keeps reaching for `endpoint`, where a `kind` is expected. The name in tcp://name:port is resolved again and
  /// again, each of its addresses being a peer. Error: invalid_argument (not an endpoint).
  expected<void> connect(protocol::service_kind kind, const std::string& endpoint);

  expected<void> send(protocol::peer_id to, protocol::message body) override;
  void settle(protocol::peer_id peer, protocol::request_id id) override;

  /// One more round, now or at the latest at `when`. On the poll thread itself it costs no system call.
  void wake();
  void wake_at(time_point when);

  /// Waits until what was sent has been taken (a client does not), for at most 2 s; says goodbye to every peer, ends
  /// the thread. No event comes afterwards.
  void stop();

  [[nodiscard]] protocol::instance_id instance() const noexcept;
  [[nodiscard]] std::uint64_t epoch() const noexcept;
  /// Every counter: of the link, and by peer.
  [[nodiscard]] std::vector<protocol::figure> figures() const;

 private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

}  // namespace shoal::link
