// How a link is set up. Every default works on a laptop; services fill these from their configuration.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "access/key_file.hpp"
#include "protocol/link.hpp"

namespace shoal::link {

class context;

enum class log_level : std::uint8_t { debug, warning, error };

struct options {
  protocol::service_kind service = protocol::service_kind::client;
  protocol::instance_id instance = 0;  ///< zero: a random one
  std::uint64_t epoch = 0;             ///< zero: now, in microseconds since 1970
  std::vector<std::string> capabilities;
  /// Where others reach this service: inproc://name, ipc://path, tcp://address:port (port 0: a free one).
  std::vector<std::string> bind;

  /// With one, tcp goes by CURVE: whoever connects must have a key of the role it says it has, and whoever is connected
  /// to one of the kind that is expected; ipc stays in the clear, where files say who may. Null: all in the clear.
  std::shared_ptr<const access::identity> identity;

  std::chrono::milliseconds heartbeat{1000};  ///< the same in the whole mesh; a peer is down after 3 silent ones
  std::chrono::milliseconds first_retry{50};  ///< of a lost connection; doubles up to last_retry
  std::chrono::milliseconds last_retry{2000};
  std::chrono::milliseconds resolve_every{2000};

  /// What this service grants to each peer: `infer`s in flight, and bytes of their tensors with their replies.
  std::uint32_t credit_messages = 1024;
  std::uint64_t credit_bytes = 256ull << 20;
  /// Room reserved for the reply to each request, in bytes of credit.
  std::uint64_t reply_room = 64ull << 10;
  /// The largest sum of tensor bytes in one message that is accepted, and the most one peer may have begun to send in
  /// pieces.
  std::uint64_t max_message_bytes = 256ull << 20;

  std::uint32_t max_peers = 1024;  ///< that reached us; HELLOs beyond are refused
  /// What may wait to be written to one peer before `send` says overloaded.
  std::uint32_t max_queued_messages = 8192;
  std::uint64_t max_queued_bytes = 512ull << 20;

  /// Where the link says what people should know; called on the poll thread. Empty: it says nothing.
  std::function<void(log_level, const std::string& sentence)> log;

  /// Links of one process that talk over inproc share one. Null: the process's own.
  std::shared_ptr<context> shared_context;
};

}  // namespace shoal::link
