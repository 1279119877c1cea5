// Where any thread meets the poll thread: `send` decides here, under one lock and without a system call, whether a
// message may go (peer, size, credit, queue), and leaves it encoded for the poll thread, which it wakes only if that
// sleeps. The poll thread opens an account per peer and closes it when the peer is down.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/clock.hpp"
#include "link/codec.hpp"
#include "link/counters.hpp"
#include "link/credit.hpp"
#include "link/options.hpp"
#include "link/poller.hpp"

namespace shoal::link {

/// What one peer may be sent, and what was. Counters are shared with the poll thread.
struct account {
  account(const hello& peer, const options& own)
      : name(std::string(name_of(peer.service)) + "-" + std::to_string(peer.instance)),
        max_message_bytes(peer.max_message_bytes),
        ours(peer.credit_messages, peer.credit_bytes),
        theirs(2ull * own.credit_messages, 2 * own.credit_bytes) {}

  std::string name;  ///< "worker-123": for figures
  std::uint64_t max_message_bytes;
  credit_book ours;  ///< requests we sent
  /// Requests we got. Twice what was granted: the other side may know before us that a request is over, when its
  /// outcome went another way.
  credit_book theirs;
  std::uint32_t queued = 0;        ///< messages the poll thread has not yet given to ZeroMQ
  std::uint64_t queued_bytes = 0;  ///< of their tensors
  std::shared_ptr<counter> held = std::make_shared<counter>(0);  ///< tensor bytes not yet given back by ZeroMQ
  traffic flow;
};

/// A message on its way from `send` to the poll thread.
struct parcel {
  protocol::peer_id to = 0;
  std::uint64_t transfer = 0;  ///< not zero: in pieces
  std::uint64_t bytes = 0;     ///< of tensors
  encoded whole;
};

class outbox {
 public:
  using command = std::function<void()>;

  outbox(const options& own, std::uint64_t epoch, counters& counts, poller& wakes)
      : options_(own), epoch_(epoch), counters_(counts), poller_(wakes) {}

  // For any thread.
  expected<void> send(protocol::peer_id to, const protocol::message& body);
  void settle(protocol::peer_id peer, protocol::request_id id);
  void post(command run);         ///< runs on the poll thread
  void wake();                    ///< the poll thread does one more round
  void wake_at(time_point when);  ///< ... not later than then
  /// How each account stands.
  struct standing_of {
    std::shared_ptr<const account> from;  ///< its name and its traffic only
    std::uint64_t credit_messages;
    std::uint64_t credit_bytes;
    std::uint64_t queued;
  };
  [[nodiscard]] std::vector<standing_of> standing() const;

  // For the poll thread.
  std::shared_ptr<account> open(protocol::peer_id peer, const hello& said);
  void close(protocol::peer_id peer);
  /// An infer from `peer` came. False: more than it may have in flight.
  bool admit(account& peer, protocol::request_id id, std::uint64_t bytes);
  /// An outcome from `peer` came.
  void give_back(account& peer, protocol::request_id id);
  void written(account& peer, std::uint64_t bytes);
  /// What came since the last call, in order; both vectors are replaced.
  void take(std::vector<parcel>& parcels, std::vector<command>& commands);
  void heed();  ///< the round that was asked for is this one
  /// True: nothing waits; until `awake` whoever leaves something wakes the poller. `until` becomes earlier if someone
  /// asked for that.
  bool may_sleep(time_point now, time_point& until);
  void awake();

 private:
  expected<void> rejected(error why);
  void notify(std::unique_lock<std::mutex>& lock);

  const options& options_;
  const std::uint64_t epoch_;
  counters& counters_;
  poller& poller_;
  std::atomic<std::uint64_t> next_transfer_{1};

  mutable std::mutex mutex_;
  std::unordered_map<protocol::peer_id, std::shared_ptr<account>> accounts_;
  std::vector<parcel> parcels_;
  std::vector<command> commands_;
  bool asleep_ = false;
  bool woken_ = false;
  std::optional<time_point> wake_at_;
};

}  // namespace shoal::link
