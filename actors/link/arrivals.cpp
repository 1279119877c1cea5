#include <new>

#include "link/engine.hpp"

namespace shoal::link {

using namespace shoal::protocol;

namespace {

constexpr std::size_t max_complaints = 1024;

template <class... Ts>
struct overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
overloaded(Ts...) -> overloaded<Ts...>;

bool is_loopback_of_process(const dialer& by) { return by.endpoint.starts_with("inproc://"); }

}  // namespace

void engine::arrived(line& from, dialer* by, std::span<frame> frames) {
  std::string_view route;
  if (by == nullptr) {
    route = frames.front().text();
    frames = frames.subspan(1);
  }
  if (frames.empty()) return counters_.dropped(drop::malformed);
  peer* who = nullptr;
  if (by == nullptr) {
    if (auto found = routes_.find(place_of(from, route)); found != routes_.end()) who = found->second;
  } else if (by->peer != 0) {
    who = peers_.at(by->peer).get();
  }

  std::uint64_t bytes = frames[0].size();
  buffers_.clear();
  for (auto& each : frames.subspan(1)) {
    bytes += each.size();
    buffers_.push_back(frame::into_buffer(std::move(each)));
  }
  std::uint64_t copies = 0;
  auto said = decode(frames[0].bytes(), buffers_, copies);
  buffers_.clear();
  if (copies != 0) add(counters_.copies, copies);
  add(counters_.all.bytes_in, bytes);
  const auto whence = [&] { return origin{route, frames[0].source(), frames[0].key()}; };
  if (who == nullptr) return from_stranger(from, by, whence(), said);

  add(who->ledger->flow.bytes_in, bytes);
  if (!said) {
    log(log_level::debug, "dropped from " + who->name() + ": " + said.error().message);
    return counters_.dropped(drop::malformed);
  }
  if (auto* words = std::get_if<control>(&said->content)) {
    // HELLO again on the same connection: it starts anew.
    if (by == nullptr && std::holds_alternative<hello>(*words))
      return on_hello(from, whence(), std::get<hello>(*words));
  }
  if (said->epoch != who->said.epoch) return counters_.dropped(drop::stale_epoch);
  who->heard = steady::now();
  try {
    std::visit(overloaded{
                   [&](control& body) { on_control(*who, std::move(body)); },
                   [&](message& body) { on_message(*who, std::move(body)); },
                   [&](bulk& body) { on_bulk(*who, std::move(body)); },
               },
               said->content);
  } catch (const std::bad_alloc&) {
    log(log_level::error, "no memory for a message from " + who->name());
    counters_.dropped(drop::too_large);
  }
}

void engine::from_stranger(line& from, dialer* by, const origin& whence, const expected<envelope>& said) {
  if (!said) return counters_.dropped(drop::malformed);
  if (const auto* body = std::get_if<control>(&said->content)) {
    if (by == nullptr && std::holds_alternative<hello>(*body)) return on_hello(from, whence, std::get<hello>(*body));
    if (by != nullptr && std::holds_alternative<welcome>(*body)) return on_welcome(*by, std::get<welcome>(*body).self);
    if (by != nullptr && std::holds_alternative<refused>(*body))
      return on_refused(*by, std::get<refused>(*body).reason);
    if (std::holds_alternative<goodbye>(*body) || std::holds_alternative<refused>(*body)) return;
  }
  counters_.dropped(drop::before_hello);
  if (by == nullptr)
    refuse(from, whence.route, {errc::unavailable, "say HELLO first: this connection is not, or no longer, known"});
}

expected<void> engine::check_role(const line& from, const origin& whence, const hello& said) const {
  if (!from.asks_for_keys) return {};
  const auto* entry = access_ ? access_->find(whence.key) : nullptr;
  if (entry == nullptr) return fail(errc::permission_denied, "this key is not, or no longer, in the access list");
  if (may_be(entry->role, said.service)) return {};
  return fail(errc::permission_denied, "the key '" + entry->name + "' is of the role " +
                                           std::string(name_of(entry->role)) + " and cannot act as a " +
                                           std::string(name_of(said.service)));
}

void engine::on_hello(line& from, const origin& whence, const hello& said) {
  const auto route = whence.route;
  if (auto allowed = check_role(from, whence, said); !allowed) {
    if (complained_.size() < max_complaints && complained_.insert(said.instance).second)
      log(log_level::warning, "refused: " + allowed.error().message);
    return refuse(from, route, std::move(allowed.error()));
  }
  if (!common_version(self_, said)) {
    error why{errc::incompatible, "this " + std::string(name_of(self_.service)) + " speaks protocol " +
                                      versions_of(self_) + ", the " + std::string(name_of(said.service)) +
                                      " that said HELLO " + versions_of(said) +
                                      ": run releases that follow each other"};
    if (complained_.size() < max_complaints && complained_.insert(said.instance).second)
      log(log_level::warning, why.message);
    return refuse(from, route, std::move(why));
  }
  from.may_have_lost = true;
  take_losses();
  if (auto known = routes_.find(place_of(from, route)); known != routes_.end())
    down(known->second->id, {errc::unavailable, "it began anew"});
  if (routes_.size() >= options_.max_peers)
    return refuse(
        from, route,
        {errc::overloaded, "this service has as many peers as it takes (" + std::to_string(options_.max_peers) + ")"});
  outgoing_.clear();
  outgoing_.emplace_back(std::as_bytes(std::span(route)));
  outgoing_.emplace_back(encode(self_.epoch, control(welcome{self_})));
  if (put(from) != sent::yes) return;  // gone already
  up(from, said, nullptr, whence);
}

peer& engine::up(line& wire, const hello& said, dialer* by, const origin& whence) {
  const auto id = next_peer_++;
  auto fresh = std::make_unique<peer>(id, said, wire, options_.max_message_bytes);
  auto& who = *fresh;
  peers_.emplace(id, std::move(fresh));
  who.dialed = by;
  who.route = whence.route;
  who.source = whence.source;
  who.key = by != nullptr ? by->server_key : whence.key;
  const auto* entry = access_ && !who.key.empty() ? access_->find(who.key) : nullptr;
  who.administers = entry == nullptr || may_administer(entry->role);
  who.heard = steady::now();
  who.spoken_to = true;
  who.local = by != nullptr ? is_loopback_of_process(*by) : who.source < 0;
  if (by != nullptr) {
    by->peer = id;
  } else {
    routes_[place_of(wire, who.route)] = &who;
    if (who.source >= 0) sources_[who.source] = &who;
  }
  who.ledger = outbox_.open(id, said);
  add(counters_.peers_up);
  // Agreed on before this; a HELLO that names no common version never gets here.
  const auto version = common_version(self_, said).value_or(protocol::oldest_protocol);
  who.takes_tails = version >= 5;
  sink_(peer_up{id, said.service, said.instance, said.epoch, said.capabilities, version, who.administers});
  return who;
}

void engine::down(peer_id id, error reason) {
  auto found = peers_.find(id);
  if (found == peers_.end()) return;
  auto who = std::move(found->second);
  peers_.erase(found);
  if (who->dialed == nullptr)
    if (auto route = routes_.find(place_of(*who->wire, who->route));
        route != routes_.end() && route->second == who.get())
      routes_.erase(route);
  if (auto source = sources_.find(who->source); source != sources_.end() && source->second == who.get())
    sources_.erase(source);
  behind_.erase(id);
  outbox_.close(id);
  add(counters_.peers_down);
  reason.message = who->name() + " is down: " + reason.message;
  sink_(peer_down{id, std::move(reason)});
}

void engine::on_control(peer& from, control body) {
  std::visit(overloaded{
                 [&](const piece& part) { on_piece(from, part); },
                 [&](const more&) {
                   if (!from.outgoing.taken()) return counters_.dropped(drop::unknown_transfer);
                   flush(from);
                 },
                 [&](const goodbye&) {
                   losses_.emplace_back(from.id, error{errc::cancelled, "it said goodbye"});
                 },
                 [&](const refused& answer) {
                   if (from.dialed != nullptr) losses_.emplace_back(from.id, answer.reason);
                 },
                 [&](const heartbeat&) {},
                 // A second HELLO is handled before; a second welcome changes nothing.
                 [&](const hello&) { counters_.dropped(drop::malformed); },
                 [&](const welcome&) { counters_.dropped(drop::malformed); },
             },
             body);
}

bool engine::admit(peer& from, const infer& request, std::uint64_t bytes) {
  if (outbox_.admit(*from.ledger, request.id, bytes)) return true;
  counters_.dropped(drop::overdrawn);
  answer(from, outcome{request.id, request.attempt,
                       fail(errc::overloaded, "more requests are in flight on this connection than were granted")});
  return false;
}

void engine::on_message(peer& from, message body) {
  if (const auto* request = std::get_if<infer>(&body)) {
    const auto bytes = tensor_bytes(body);  // decoded: it cannot fail
    if (!bytes || !admit(from, *request, *bytes)) return;
  }
  tell(from, std::move(body));
}

void engine::tell(peer& from, message body) {
  if (const auto* answer = std::get_if<outcome>(&body)) outbox_.give_back(*from.ledger, answer->id);
  add(counters_.all.messages_in);
  add(from.ledger->flow.messages_in);
  sink_(delivery{from.id, std::move(body)});
}

void engine::on_bulk(peer& from, bulk head) {
  if (const auto* request = std::get_if<infer>(&head.body); request && !admit(from, *request, head.bytes)) return;
  const auto refusal = from.incoming.begin(head);
  if (refusal == bulk_receiver::refusal::none) return;
  const bool large = refusal == bulk_receiver::refusal::too_large;
  counters_.dropped(large ? drop::too_large : drop::broken_transfer);
  lost_body(from, std::move(head.body),
            large ? error{errc::too_large, "a message of " + std::to_string(head.bytes) + " bytes is more than the " +
                                               std::to_string(options_.max_message_bytes) + " that one peer may send"}
                  : error{errc::corrupt, "a transfer number was used twice"});
}

void engine::on_piece(peer& from, const piece& part) {
  const auto result = from.incoming.take(part);
  say(from, more{part.transfer});
  switch (result) {
    case bulk_receiver::result::partial: return;
    case bulk_receiver::result::complete: return tell(from, from.incoming.finished());
    case bulk_receiver::result::unknown: return counters_.dropped(drop::unknown_transfer);
    case bulk_receiver::result::broken:
      counters_.dropped(drop::broken_transfer);
      return lost_body(from, from.incoming.finished(), {errc::corrupt, "the pieces of a message did not fit together"});
  }
}

/// A message whose bytes will not come: whoever waits for it learns why at once.
void engine::lost_body(peer& from, message body, const error& why) {
  if (const auto* request = std::get_if<infer>(&body)) {
    answer(from, outcome{request->id, request->attempt, tl::unexpected(why)});
    outbox_.settle(from.id, request->id);
  } else if (auto* ended = std::get_if<outcome>(&body)) {
    ended->result = tl::unexpected(why);
    tell(from, std::move(body));
  } else if (auto* held = std::get_if<payload>(&body)) {
    held->inputs = tl::unexpected(why);
    tell(from, std::move(body));
  }
}

}  // namespace shoal::link
