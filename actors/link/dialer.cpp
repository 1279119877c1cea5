#include "link/dialer.hpp"

#include <algorithm>

namespace shoal::link {

expected<void> dialer::dial(const options& own, std::shared_ptr<context> shared, std::uint64_t token,
                            std::int64_t max_frame) {
  wire = std::make_unique<line>(std::move(shared), ZMQ_DEALER, token);
  auto& socket = wire->talk;
  socket.set(ZMQ_IMMEDIATE, 1);
  socket.set_max_frame(max_frame);
  socket.set(ZMQ_RECONNECT_IVL, static_cast<int>(own.first_retry.count()));
  socket.set(ZMQ_RECONNECT_IVL_MAX, static_cast<int>(own.last_retry.count()));
  socket.set(ZMQ_CONNECT_TIMEOUT, static_cast<int>(3 * own.heartbeat.count()));
  socket.set(ZMQ_HANDSHAKE_IVL, static_cast<int>(3 * own.heartbeat.count()));
  return socket.connect(endpoint);
}

milliseconds dialer::next_delay(const options& own, std::mt19937_64& random) {
  auto delay = std::min(own.last_retry, own.first_retry * (1u << std::min(failures, 10u)));
  ++failures;
  return delay + milliseconds(std::uniform_int_distribution<std::int64_t>(0, delay.count() / 2)(random));
}

}  // namespace shoal::link
