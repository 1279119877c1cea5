#include <algorithm>

#include "link/engine.hpp"

namespace shoal::link {

using namespace shoal::protocol;

void engine::connect(service_kind kind, const std::string& endpoint) {
  auto parts = parse_endpoint(endpoint);
  if (!parts) return;  // zmq_link::connect has said so to its caller
  if (!*parts) return add_dialer(kind, endpoint);
  if (!targets_.try_emplace(endpoint).second) return;
  if (!resolver_) resolver_ = std::make_unique<resolver>(options_.resolve_every);
  resolver_->watch(**parts, [this, kind, endpoint](const std::vector<std::string>& found) {
    outbox_.post([this, kind, endpoint, found] { resolved(kind, endpoint, found); });
  });
}

void engine::resolved(service_kind kind, const std::string& target, const std::vector<std::string>& endpoints) {
  auto& current = targets_[target];
  for (const auto& endpoint : endpoints) add_dialer(kind, endpoint);
  for (const auto& endpoint : current) {
    if (std::binary_search(endpoints.begin(), endpoints.end(), endpoint)) continue;
    // A service that drains leaves its name before it ends: its connection, while there is one, is kept.
    for (auto& each : dialers_)
      if (each.endpoint == endpoint) each.retired = true;
    due_by(steady::now());
  }
  current = endpoints;
}

void engine::add_dialer(service_kind kind, const std::string& endpoint) {
  for (auto& each : dialers_) {
    if (each.endpoint != endpoint) continue;
    each.retired = false;
    return;
  }
  dial(dialers_.emplace_back(kind, endpoint));
}

void engine::dial(dialer& to) {
  add(counters_.dials);
  to.now = dialer::state::connecting;
  const auto token = next_token_;
  next_token_ += 2;
  if (auto dialed = to.dial(options_, context_, token, static_cast<std::int64_t>(piece_size)); !dialed) {
    complain(to, dialed.error().message);
    to.wire.reset();
    to.now = dialer::state::waiting;
    to.due = steady::now() + options_.last_retry;
    return due_by(to.due);
  }
  poller_.add(to.wire->talk.descriptor(), to.wire->token);
  poller_.add(to.wire->watch.descriptor(), to.wire->token + 1);
  greet(to);
}

void engine::greet(dialer& to) {
  outgoing_.clear();
  outgoing_.emplace_back(encode(self_.epoch, control(self_)));
  if (put(*to.wire) != sent::yes) return;  // not connected yet
  to.now = dialer::state::greeting;
  to.due = steady::now() + 3 * options_.heartbeat;
  due_by(to.due);
}

void engine::on_lost(dialer& by) {
  const auto handshake = by.wire->watch.handshake();
  error why{errc::unavailable, "the connection to " + by.endpoint + " was lost"};
  if (by.now != dialer::state::up && handshake == broken_handshake::refused)
    why = {errc::permission_denied, by.endpoint + " does not let in the key '" + options_.identity->own.name +
                                        "': it is not, or no longer, in the access list there"};
  else if (by.now != dialer::state::up && handshake == broken_handshake::mismatched)
    why = {errc::permission_denied,
           by.endpoint + (by.server_key.empty()
                              ? " does not speak in the clear, or not this protocol: give this side a key"
                              : " has no key that is believed to be a " + std::string(name_of(by.kind)) +
                                    "'s, or speaks in the clear")};
  if (why.code == errc::permission_denied) complain(by, why.message);
  hang_up(by, std::move(why));
}

void engine::hang_up(dialer& from, error reason) {
  if (const auto peer = std::exchange(from.peer, 0)) down(peer, std::move(reason));
  if (from.wire) forget(*from.wire);
  from.wire.reset();
  from.now = dialer::state::waiting;
  from.due = steady::now() + from.next_delay(options_, random_);
  due_by(from.due);
}

void engine::on_welcome(dialer& by, const hello& said) {
  if (by.now != dialer::state::greeting) return counters_.dropped(drop::malformed);
  const auto reject = [&](std::string why) {
    add(counters_.refused_in);
    complain(by, why);
    by.failures = 10;  // it will not be another one so soon
    hang_up(by, {errc::incompatible, std::move(why)});
  };
  if (!common_version(self_, said))
    return reject(by.endpoint + " speaks protocol " + versions_of(said) + ", this service " + versions_of(self_) +
                  ": run releases that follow each other");
  if (said.service != by.kind)
    return reject(by.endpoint + " is a " + std::string(name_of(said.service)) + ", not a " +
                  std::string(name_of(by.kind)) + ": correct the configured address");
  for (const auto& [id, other] : peers_)
    if (other->dialed != nullptr && other->said.instance == said.instance)
      return reject(by.endpoint + " is the same " + std::string(name_of(said.service)) + " as " +
                    other->dialed->endpoint);
  by.failures = 0;
  by.complaint.clear();
  by.now = dialer::state::up;
  up(*by.wire, said, &by, {});
}

void engine::on_refused(dialer& by, const error& reason) {
  add(counters_.refused_out);
  if (by.now == dialer::state::up) return hang_up(by, reason);  // it lost us; we come again
  complain(by, by.endpoint + " refused this service: " + reason.message);
  if (reason.code == errc::incompatible || reason.code == errc::permission_denied) by.failures = 10;
  hang_up(by, reason);
}

void engine::complain(dialer& about, const std::string& sentence) {
  if (about.complaint == sentence) return;
  about.complaint = sentence;
  log(log_level::warning, sentence);
}

}  // namespace shoal::link
