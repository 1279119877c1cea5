// A link in memory for tests of the concerns: keeps what was sent, fails when told to, and shows settled credit.
#pragma once

#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "protocol/link.hpp"

namespace shoal::test {

class memory_link final : public protocol::link {
 public:
  expected<void> send(protocol::peer_id to, protocol::message body) override {
    if (gone.contains(to)) return fail(errc::unavailable, "no such peer");
    if (full.contains(to)) return fail(errc::overloaded, "no credit left");
    if (narrow.contains(to)) return fail(errc::invalid_argument, "the message is too large");
    sent.emplace_back(to, std::move(body));
    return {};
  }
  void settle(protocol::peer_id peer, protocol::request_id id) override { settled.emplace_back(peer, id); }

  /// Takes the oldest message of type Message that was sent to `to`.
  template <class Message>
  std::optional<Message> take(protocol::peer_id to) {
    for (auto at = sent.begin(); at != sent.end(); ++at) {
      if (at->first != to || !std::holds_alternative<Message>(at->second)) continue;
      auto message = std::get<Message>(std::move(at->second));
      sent.erase(at);
      return message;
    }
    return std::nullopt;
  }

  template <class Message>
  std::size_t count(protocol::peer_id to) const {
    std::size_t n = 0;
    for (const auto& [peer, body] : sent) n += peer == to && std::holds_alternative<Message>(body);
    return n;
  }

  std::vector<std::pair<protocol::peer_id, protocol::message>> sent;
  std::vector<std::pair<protocol::peer_id, protocol::request_id>> settled;
  std::set<protocol::peer_id> gone;
  std::set<protocol::peer_id> full;
  std::set<protocol::peer_id> narrow;  ///< whatever is sent there is too large
};

/// Hands a mind (gateway_state, scheduler_state, worker_state) the events of a link.
template <class Mind>
void up(Mind& mind, protocol::peer_id peer, protocol::service_kind kind, protocol::instance_id instance,
        time_point now) {
  protocol::link_event event = protocol::peer_up{peer, kind, instance, 1, {}};
  mind.on(event, now);
}

template <class Mind>
void down(Mind& mind, protocol::peer_id peer, time_point now,
          error reason = {errc::unavailable, "the connection was closed"}) {
  protocol::link_event event = protocol::peer_down{peer, std::move(reason)};
  mind.on(event, now);
}

template <class Mind, class Message>
void deliver(Mind& mind, protocol::peer_id from, Message message, time_point now) {
  protocol::link_event event = protocol::delivery{from, std::move(message)};
  mind.on(event, now);
}

/// fp32 [rows, width], both free, named x; filled with 0, 1, 2, …
inline tensor matrix(std::int64_t rows, std::int64_t width, const char* name = "x", float first = 0) {
  tensor made{name, dtype::fp32, {rows, width}, {}};
  const auto count = static_cast<std::size_t>(rows * width);
  made.data = buffer::make(count * sizeof(float), [&](std::byte* to) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto value = first + static_cast<float>(i);
      std::memcpy(to + i * sizeof value, &value, sizeof value);
    }
  });
  return made;
}

/// A model y = f(x) that joins requests along "batch".
inline protocol::model_spec matrix_model(const char* name = "m", std::uint64_t version = 1) {
  protocol::model_spec spec;
  spec.name = name;
  spec.version = version;
  spec.state = protocol::model_state::ready;
  spec.batch_symbol = "batch";
  spec.max_batch = 8;
  spec.inputs = {{"x", dtype::fp32, {{1, 1024, "batch"}, {1, 4096, "width"}}, 0}};
  spec.outputs = {{"y", dtype::fp32, {{1, 1024, "batch"}, {1, 4096, "width"}}, 0}};
  return spec;
}

inline protocol::infer matrix_request(protocol::request_id id, std::int64_t rows = 1, std::int64_t width = 4,
                                      const char* model = "m") {
  protocol::infer request;
  request.id = id;
  request.time_left = std::chrono::seconds(5);
  request.model = model;
  request.version = 1;
  request.inputs = {matrix(rows, width)};
  return request;
}

}  // namespace shoal::test
