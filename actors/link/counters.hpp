// What a link counts. Written by the poll thread and by senders, read from any thread; relaxed atomics, since each
// figure stands for itself.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace shoal::link {

using counter = std::atomic<std::uint64_t>;

inline void add(counter& to, std::uint64_t n = 1) noexcept { to.fetch_add(n, std::memory_order_relaxed); }

/// Why a message was thrown away. Every one of them is counted.
enum class drop : std::uint8_t {
  malformed,         ///< came: not what schemas/mesh.capnp says
  before_hello,      ///< came: from a connection that is not, or no longer, a peer
  stale_epoch,       ///< came: another boot epoch than in that peer's HELLO
  overdrawn,         ///< came: an infer above the credit granted; answered with an outcome
  too_large,         ///< came: more tensor bytes than accepted
  unknown_transfer,  ///< came: a piece of no transfer that is under way
  broken_transfer,   ///< came: a transfer whose pieces have gaps or wrong sizes
  peer_gone,         ///< to be sent: the peer went down before it was written
};
inline constexpr std::array<std::string_view, 8> drop_names{
    "malformed", "before_hello",     "stale_epoch",     "overdrawn",
    "too_large", "unknown_transfer", "broken_transfer", "peer_gone",
};

/// Messages are protocol messages, whole; bytes are those of all frames.
struct traffic {
  counter messages_in{0};
  counter bytes_in{0};
  counter messages_out{0};
  counter bytes_out{0};
};

struct counters {
  traffic all;
  std::array<counter, drop_names.size()> drops{};
  counter copies{0};          ///< misaligned frames copied on arrival
  counter peers_up{0};        ///< ever
  counter peers_down{0};      ///< ever
  counter dials{0};           ///< connections begun, the first ones and those made again
  counter refused_in{0};      ///< HELLOs we refused
  counter keys_refused{0};    ///< connections whose key is not in the access list
  counter refused_out{0};     ///< HELLOs of ours that were refused
  counter rejected_sends{0};  ///< `send` said overloaded or too_large
  counter waits{0};           ///< times the poll thread waited for something to happen

  void dropped(drop why) noexcept { add(drops[static_cast<std::size_t>(why)]); }
};

}  // namespace shoal::link
