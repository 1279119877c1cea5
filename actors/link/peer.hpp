// One connection whose other side has said who it is. Belongs to the poll thread.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "link/bulk.hpp"
#include "link/dialer.hpp"
#include "link/outbox.hpp"

namespace shoal::link {

struct peer {
  peer(protocol::peer_id id, hello who, line& wire, std::uint64_t max_message_bytes)
      : id(id), said(std::move(who)), wire(&wire), incoming(max_message_bytes) {}

  /// "worker 123": for people.
  [[nodiscard]] std::string name() const {
    return std::string(protocol::name_of(said.service)) + " " + std::to_string(said.instance);
  }

  /// A message that ZeroMQ had no room for.
  struct letter {
    std::vector<std::byte> head;
    std::vector<buffer> tensors;
    bool queued = false;      ///< counted in its account, with
    std::uint64_t bytes = 0;  ///< ... its tensors' bytes
  };

  protocol::peer_id id;
  hello said;
  line* wire;
  dialer* dialed = nullptr;  ///< null: it reached us
  std::string route;         ///< its routing id on our ROUTER, if it reached us
  int source = -1;           ///< the descriptor of its connection there; -1 over inproc
  std::string key;           ///< by which it was let in, or is believed; empty: none was asked for
  bool administers = true;   ///< a client that may load and unload models
  bool takes_tails = false;  ///< since protocol version 5
  bool local = false;        ///< over inproc: what it holds of a message we hold as well
  time_point heard{};
  bool spoken_to = false;  ///< since the last heartbeat was due
  std::shared_ptr<account> ledger;
  std::deque<letter> waiting;
  bulk_sender outgoing;
  bulk_receiver incoming;
};

}  // namespace shoal::link
