#include "link/dialer.hpp"

#include "core/back_off.hpp"

namespace shoal::link {

access::role role_of(protocol::service_kind kind) noexcept {
  using protocol::service_kind;
  switch (kind) {
    case service_kind::client: break;
    case service_kind::gateway: return access::role::gateway;
    case service_kind::scheduler: return access::role::scheduler;
    case service_kind::worker: return access::role::worker;
    case service_kind::cache: return access::role::cache;
    case service_kind::precision: return access::role::precision;
  }
  return access::role::client;
}

expected<void> dialer::dial(const options& own, std::shared_ptr<context> shared, std::uint64_t token,
                            std::int64_t max_frame) {
  server_key.clear();
  if (own.identity && endpoint.starts_with("tcp://")) {
    const auto keys = own.identity->keys_of(role_of(kind));
    if (keys.empty())
      return fail(errc::permission_denied, "no " + std::string(protocol::name_of(kind)) + " is believed, and so not " +
                                               endpoint + ": there is no key of one in " + own.identity->source());
    server_key = keys[failures % keys.size()];
  }
  wire = std::make_unique<line>(std::move(shared), ZMQ_DEALER, token);
  auto& socket = wire->talk;
  if (!server_key.empty()) socket.use_curve({own.identity->own.public_key, own.identity->own.secret_key}, server_key);
  socket.set(ZMQ_IMMEDIATE, 1);
  socket.set_max_frame(max_frame);
  socket.set(ZMQ_RECONNECT_IVL, static_cast<int>(own.first_retry.count()));
  socket.set(ZMQ_RECONNECT_IVL_MAX, static_cast<int>(own.last_retry.count()));
  socket.set(ZMQ_CONNECT_TIMEOUT, static_cast<int>(3 * own.heartbeat.count()));
  socket.set(ZMQ_HANDSHAKE_IVL, static_cast<int>(3 * own.heartbeat.count()));
  return socket.connect(endpoint);
}

milliseconds dialer::next_delay(const options& own, std::mt19937_64& random) {
  const auto delay = doubled(own.first_retry, failures++, own.last_retry);
  return delay + milliseconds(std::uniform_int_distribution<std::int64_t>(0, delay.count() / 2)(random));
}

}  // namespace shoal::link
