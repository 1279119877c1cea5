#include "unit/simulation/network.hpp"

#include <algorithm>
#include <utility>

#include "link/codec.hpp"

namespace shoal::test {

using namespace protocol;

class network::own_port final : public protocol::link {
 public:
  own_port(network& world, place_id self, std::uint64_t life) : world_(world), self_(self), life_(life) {}
  expected<void> send(peer_id to, message body) override { return world_.send(self_, life_, to, std::move(body)); }
  void settle(peer_id peer, request_id id) override { world_.settle(self_, peer, id); }

 private:
  network& world_;
  place_id self_;
  std::uint64_t life_;
};

// --- processes ------------------------------------------------------------------------------------------------------

place_id network::add() {
  places_.emplace_back();
  return places_.size() - 1;
}

void network::start(place_id id, greeting said, const std::vector<place_id>& reaches_for) {
  auto& self = places_[id];
  self.alive = true;
  ++self.life;
  self.paused_until = {};
  self.said = std::move(said);
  self.dialers.clear();
  for (const auto to : reaches_for) {
    self.dialers.push_back({to, 0});
    later(id, delay(), [this, id, to] { dial(id, to); });
  }
}

std::unique_ptr<protocol::link> network::port(place_id id) {
  return std::make_unique<own_port>(*this, id, places_[id].life);
}

void network::later(place_id id, steady::duration wait, std::function<void()> what) {
  const auto life = places_[id].life;
  time_.after(wait, [this, id, life, what = std::move(what)]() mutable {
    const auto& self = places_[id];
    if (!self.alive || self.life != life) return;
    if (self.paused_until > time_.now()) return later(id, self.paused_until - time_.now(), std::move(what));
    what();
  });
}

void network::stop(place_id id, end how) {
  places_[id].alive = false;
  for (std::size_t c = 0; c < connections_.size(); ++c) {
    auto& line = connections_[c];
    const int at = line.sides[0].place == id ? 0 : line.sides[1].place == id ? 1 : -1;
    if (at < 0 || line.sides[at].life != places_[id].life) continue;
    line.sides[at].up = false;
    line.sides[at].incoming.clear();
    if (line.broken) continue;  // the other side hears of that anyhow
    line.broken = true;
    if (how == end::in_order)
      close(c, 1 - at, false, {}, {errc::cancelled, "it said goodbye"});
    else if (how == end::killed)  // what it has written may have been read yet
      close(c, 1 - at, time_.chance(0.5), {}, {errc::unavailable, "its connection was closed"});
    else
      close(c, 1 - at, false, time_.between(silent_heartbeats * heartbeat, (silent_heartbeats + 1) * heartbeat),
            {errc::unavailable, "nothing was heard of it for 3 heartbeats"});
  }
}

void network::pause(place_id id, time_point until) {
  places_[id].paused_until = std::max(places_[id].paused_until, until);
  for (place_id other = 0; other < places_.size(); ++other)
    if (other != id) watch_silence(id, other);
}

// --- connections ----------------------------------------------------------------------------------------------------

steady::duration network::delay() {
  const auto usual = time_.between(options_.least_delay, options_.most_delay);
  return time_.chance(options_.slow) ? usual * static_cast<std::int64_t>(2 + time_.below(98)) : usual;
}

time_point network::silent_until(place_id from, place_id to) const {
  const auto found = silences_.find({from, to});
  return std::max(found == silences_.end() ? time_point{} : found->second, places_[from].paused_until);
}

void network::dial(place_id from, place_id to) {
  const auto now = time_.now();
  if (!places_[to].alive || places_[to].paused_until > now || silent_until(from, to) > now ||
      silent_until(to, from) > now)
    return redial(from, to);
  connect(from, to);
}

/// After a back-off, as link/dialer.hpp has it.
void network::redial(place_id from, place_id to) {
  for (auto& each : places_[from].dialers) {
    if (each.to != to) continue;
    auto wait = std::min<steady::duration>(milliseconds(2000), milliseconds(50) * (1u << std::min(each.failures, 10u)));
    ++each.failures;
    later(from, time_.between(wait, wait + wait / 2), [this, from, to] { dial(from, to); });
  }
}

void network::connect(place_id from, place_id to) {
  const auto index = connections_.size();
  auto& line = connections_.emplace_back();
  const place_id ends[] = {from, to};
  for (int s = 0; s < 2; ++s) {
    line.sides[s].place = ends[s];
    line.sides[s].life = places_[ends[s]].life;
  }
  // HELLO there, and the welcome back once it was read.
  const auto& said = places_[from].said;
  push(index, 1, peer_up{id_of(index, 1), said.service, said.instance, said.epoch, said.capabilities});
}

void network::open(side& self, const greeting& other) {
  const auto& own = places_[self.place].said;
  self.up = true;
  self.ours.emplace(other.credit_messages, other.credit_bytes);
  self.theirs.emplace(2ull * own.credit_messages, 2 * own.credit_bytes);
}

void network::push(std::size_t index, int to, link_event what, time_point not_before) {
  auto& line = connections_[index];
  auto& queue = line.sides[to].incoming;
  auto arrives = std::max(time_.now() + delay(), not_before);
  if (!queue.empty()) arrives = std::max(arrives, queue.back().arrives);
  queue.push_back({arrives, std::move(what)});
  pump_at(index, to, queue.front().arrives);
}

void network::pump_at(std::size_t index, int to, time_point when) {
  auto& due = connections_[index].sides[to].pumped_at;
  when = std::max(when, time_.now());
  if (due && *due <= when) return;
  due = when;
  time_.at(when, [this, index, to, when] {
    auto& due = connections_[index].sides[to].pumped_at;
    if (due != when) return;
    due.reset();
    pump(index, to);
  });
}

void network::pump(std::size_t index, int to) {
  auto& line = connections_[index];
  auto& self = line.sides[to];
  if (!lives(self)) return self.incoming.clear();
  if (self.incoming.empty()) return;
  const auto& first = self.incoming.front();
  // One that has hung up itself, or lost power, does not depend on what the network carries.
  const auto held = std::max({first.arrives, places_[self.place].paused_until,
                              line.broken ? time_point{} : silent_until(line.sides[1 - to].place, self.place)});
  if (held > time_.now()) return pump_at(index, to, held);
  auto what = std::move(self.incoming.front().what);
  self.incoming.pop_front();
  if (!self.incoming.empty()) pump_at(index, to, self.incoming.front().arrives);
  give(index, to, std::move(what));
}

void network::give(std::size_t index, int to, link_event what) {
  auto& line = connections_[index];
  auto& self = line.sides[to];
  auto& other = line.sides[1 - to];
  if (const auto* up = std::get_if<peer_up>(&what)) {
    open(self, places_[other.place].said);
    if (to == 1 && !line.broken) {
      const auto& said = places_[self.place].said;
      push(index, 0, peer_up{id_of(index, 0), said.service, said.instance, said.epoch, said.capabilities});
    } else if (to == 0) {
      for (auto& each : places_[self.place].dialers)
        if (each.to == other.place) each.failures = 0;
    }
    static_cast<void>(up);
  } else if (std::holds_alternative<peer_down>(what)) {
    const bool was_up = std::exchange(self.up, false);
    self.ours.reset();
    self.theirs.reset();
    self.incoming.clear();
    if (to == 0) redial(self.place, other.place);
    if (!was_up) return;
  } else {
    if (!self.up) return;
    auto& body = std::get<delivery>(what).body;
    if (const auto* answer = std::get_if<outcome>(&body)) self.ours->give_back(answer->id);
    if (const auto* request = std::get_if<infer>(&body)) {
      const auto bytes = link::tensor_bytes(body).value_or(0) + options_.reply_room;
      if (!self.theirs->take(request->id, bytes)) {
        if (!line.broken)
          push(index, 1 - to,
               delivery{id_of(index, 1 - to), outcome{request->id, request->attempt,
                                                      fail(errc::overloaded, "more is in flight than was granted")}});
        return;
      }
    }
  }
  if (seen) seen(other.place, self.place, what);
  hear(self.place, std::move(what));
}

expected<void> network::send(place_id from, std::uint64_t life, peer_id to, message body) {
  const auto index = static_cast<std::size_t>((to - 1) / 2);
  const int at = static_cast<int>((to - 1) % 2);
  if (to == 0 || index >= connections_.size()) return fail(errc::unavailable, "no such peer");
  auto& line = connections_[index];
  auto& self = line.sides[at];
  if (self.place != from || self.life != life || !self.up) return fail(errc::unavailable, "no such peer");
  auto bytes = link::tensor_bytes(body);
  if (!bytes) return tl::unexpected(bytes.error());
  if (const auto* answer = std::get_if<outcome>(&body)) self.theirs->give_back(answer->id);
  auto& queue = line.sides[1 - at].incoming;
  if (queue.size() >= options_.max_queued) return fail(errc::overloaded, "too much waits to be written");
  if (const auto* request = std::get_if<infer>(&body))
    if (!self.ours->take(request->id, *bytes + options_.reply_room))
      return fail(errc::overloaded, "no link credit is left");
  if (line.broken) return {};
  const auto harm = tamper ? tamper(from, line.sides[1 - at].place, body) : tampering::none;
  if (harm == tampering::lose) return {};
  if (harm == tampering::twice) push(index, 1 - at, delivery{id_of(index, 1 - at), body});
  push(index, 1 - at, delivery{id_of(index, 1 - at), std::move(body)});
  return {};
}

void network::settle(place_id from, peer_id peer, request_id id) {
  const auto index = static_cast<std::size_t>((peer - 1) / 2);
  if (forgets_to_settle || peer == 0 || index >= connections_.size()) return;
  auto& self = connections_[index].sides[(peer - 1) % 2];
  if (self.place != from || !self.up) return;
  self.ours->give_back(id);
  self.theirs->give_back(id);
}

// --- faults ---------------------------------------------------------------------------------------------------------

/// The process at that end is told; `loses`: what flies towards it is lost.
void network::close(std::size_t index, int to, bool loses, steady::duration wait, error why) {
  auto& self = connections_[index].sides[to];
  if (!lives(self) || std::exchange(self.closing, true)) return;
  if (loses) self.incoming.clear();
  push(index, to, peer_down{id_of(index, to), std::move(why)}, time_.now() + wait);
}

void network::break_connection(std::size_t index) {
  auto& line = connections_[index];
  line.broken = true;
  const int late = time_.chance(options_.late_breaks) ? static_cast<int>(time_.below(2)) : -1;
  for (int s = 0; s < 2; ++s)
    close(index, s, true, s == late ? time_.between(milliseconds(0), silent_heartbeats * heartbeat) : milliseconds(0),
          {errc::unavailable, "its connection was closed"});
}

bool network::break_one() {
  std::vector<std::size_t> whole;
  for (std::size_t c = 0; c < connections_.size(); ++c)
    if (!connections_[c].broken) whole.push_back(c);
  if (whole.empty()) return false;
  break_connection(time_.one_of(whole));
  return true;
}

void network::silence(place_id from, place_id to, time_point until) {
  auto& known = silences_[{from, to}];
  known = std::max(known, until);
  watch_silence(from, to);
}

void network::watch_silence(place_id from, place_id to) {
  const auto since = time_.now();
  const auto wait = time_.between(silent_heartbeats * heartbeat, (silent_heartbeats + 1) * heartbeat);
  if (silent_until(from, to) < since + wait) return;
  time_.after(wait, [this, from, to] {
    if (silent_until(from, to) < time_.now()) return;
    for (std::size_t c = 0; c < connections_.size(); ++c) {
      const auto& line = connections_[c];
      for (int s = 0; s < 2; ++s)
        if (line.sides[s].place == to && line.sides[1 - s].place == from) hang_up(c, s);
    }
  });
}

void network::hang_up(std::size_t index, int at) {
  auto& line = connections_[index];
  auto& self = line.sides[at];
  auto& other = line.sides[1 - at];
  const auto now = time_.now();
  // Whoever was away himself does not blame the others.
  if (line.broken || !self.up || !lives(self) || places_[self.place].paused_until > now) return;
  line.broken = true;
  close(index, at, true, {}, {errc::unavailable, "nothing was heard of it for 3 heartbeats"});
  const auto reaches = std::max({now, silent_until(self.place, other.place), places_[other.place].paused_until});
  close(index, 1 - at, time_.chance(0.5), reaches - now, {errc::unavailable, "its connection was closed"});
}

// --- what the checker asks ------------------------------------------------------------------------------------------

std::uint64_t network::credit_taken() const {
  std::uint64_t taken = 0;
  for (const auto& line : connections_)
    for (const auto& each : line.sides)
      if (each.up && lives(each)) taken += each.ours->messages() + each.theirs->messages();
  return taken;
}

std::size_t network::connections() const {
  return static_cast<std::size_t>(std::count_if(connections_.begin(), connections_.end(), [](const connection& line) {
    return !line.broken && line.sides[0].up && line.sides[1].up;
  }));
}

}  // namespace shoal::test
