#include "link/engine.hpp"

#include <algorithm>
#include <map>

namespace shoal::link {

using namespace shoal::protocol;

namespace {
/// Messages read from one socket before the others have their turn.
constexpr int messages_per_turn = 256;
/// A route, an envelope, and a frame per tensor.
constexpr std::size_t max_frames = max_tensors + 2;
/// For what waits for room in ZeroMQ, should its word that there is room have been missed.
constexpr milliseconds room_check{10};
/// After `stop`: for what was sent to be taken, and for the last of it to leave ZeroMQ.
constexpr milliseconds longest_farewell{2000};
constexpr int goodbye_linger_ms = 1000;
constexpr int close_limit_ms = 1000;
constexpr int silent_heartbeats = 3;
}  // namespace

engine::engine(const options& own, hello self, counters& counts, outbox& out, poller& wait)
    : options_(own),
      self_(std::move(self)),
      counters_(counts),
      outbox_(out),
      poller_(wait),
      context_(own.shared_context ? own.shared_context : context::of_process()),
      random_(self_.instance ^ self_.epoch) {
  if (options_.identity && options_.identity->book) access_ = options_.identity->book->current();
  heartbeat_due_ = tick_due_ = last_tick_ = steady::now();
}

engine::~engine() {
  resolver_.reset();  // it tells this object
  for (auto& each : dialers_)
    if (each.wire) forget(*each.wire);
  stop_listening();
  for (const auto& each : routers_) forget(*each);
}

line& engine::router_for(const std::string& address) {
  const bool asks_for_keys = options_.identity && address.starts_with("tcp://");
  for (const auto& each : routers_)
    if (each->asks_for_keys == asks_for_keys) return *each;
  auto& fresh = *routers_.emplace_back(std::make_unique<line>(context_, ZMQ_ROUTER, next_token_));
  next_token_ += 2;
  fresh.asks_for_keys = asks_for_keys;
  auto& socket = fresh.talk;
  socket.set(ZMQ_ROUTER_MANDATORY, 1);
  socket.set(ZMQ_HANDSHAKE_IVL, static_cast<int>(silent_heartbeats * options_.heartbeat.count()));
  if (asks_for_keys) {
    const auto domain = "shoal-" + std::to_string(self_.instance);
    admission_ = context_->guard(domain, [this, book = options_.identity->book](std::string_view key) {
      if (book && book->current()->find(key) != nullptr) return true;
      add(counters_.keys_refused);
      log(log_level::warning, "a connection was refused: its key " + std::string(key) + " is not in the access list");
      return false;
    });
    socket.serve_curve(options_.identity->own.secret_key, domain);
  }
  socket.set_max_frame(static_cast<std::int64_t>(piece_size));
  poller_.add(socket.descriptor(), fresh.token);
  poller_.add(fresh.watch.descriptor(), fresh.token + 1);
  return fresh;
}

expected<void> engine::bind() {
  for (const auto& address : options_.bind) {
    // A name that begins with '@' is no file, and '*' makes one that nobody else can have.
    if (address.starts_with("ipc://") && address.size() > 6 && address[6] != '@' && address[6] != '*') {
      auto guard = ipc_guard::take(address);
      if (!guard) return tl::unexpected(guard.error());
      guards_.push_back(std::move(*guard));
    }
    auto bound = router_for(address).talk.bind(address);
    if (!bound) return tl::unexpected(bound.error());
    endpoints_.push_back(std::move(*bound));
  }
  return {};
}

void engine::forget(line& wire) {
  poller_.remove(wire.talk.descriptor());
  poller_.remove(wire.watch.descriptor());
}

void engine::run(event_sink sink, std::function<bool()> after_poll) {
  sink_ = std::move(sink);
  after_poll_ = std::move(after_poll);
  while (!stopping_) {
    round();
    if (!stopping_) wait();
  }
  write();
  if (self_.service != service_kind::client) finish_writing();  // a client that ends waits for no outcome
  say_goodbye();
  stop_listening();
}

void engine::round() {
  take_losses();
  for (const auto& each : routers_)
    if (each->may_have_more) read(*each, nullptr);
  for (auto& each : dialers_) {
    if (!each.wire) continue;
    const bool lost = std::exchange(each.wire->may_have_lost, false) && !each.wire->watch.lost().empty();
    if (each.wire->may_have_more || lost) read(*each.wire, &each);
    if (lost && each.wire) on_lost(each);
  }
  apply_losses();
  if (const auto now = steady::now(); now >= tick_due_) tick(now);
  outbox_.heed();
  busy_ = after_poll_ && after_poll_();
  write();
}

void engine::wait() {
  const auto has_more = [](const std::unique_ptr<line>& wire) {
    return wire && (wire->may_have_more || wire->may_have_lost);
  };
  bool more = busy_ || std::any_of(routers_.begin(), routers_.end(), has_more);
  for (const auto& each : dialers_) more = more || has_more(each.wire);
  // What was touched by a write is mostly found empty: look at it once without asking the operating system first.
  if (more && !std::exchange(skipped_, true)) return;
  skipped_ = false;
  const auto now = steady::now();
  auto until = behind_.empty() ? tick_due_ : std::min(tick_due_, now + room_check);
  const bool sleeps = !more && outbox_.may_sleep(now, until);
  const auto& ready = poller_.wait(sleeps ? std::optional(until) : std::nullopt);
  if (sleeps) {
    outbox_.awake();
    add(counters_.waits);
  }
  const auto mark = [](line& wire, std::uint64_t token) {
    if (token == wire.token) wire.may_have_more = true;
    if (token == wire.token + 1) wire.may_have_lost = true;
  };
  for (const auto token : ready) {
    for (const auto& each : routers_) mark(*each, token);
    for (auto& each : dialers_)
      if (each.wire) mark(*each.wire, token);
  }
}

void engine::read(line& from, dialer* by) {
  // Of a connection that is lost all that it brought is read before that is told.
  const int turn = losses_.empty() ? messages_per_turn : 16 * messages_per_turn;
  for (int i = 0; i < turn; ++i) {
    if (!from.talk.receive(frames_, max_frames)) {
      from.may_have_more = false;
      if (by != nullptr && by->now == dialer::state::connecting) greet(*by);
      return;
    }
    if (frames_.empty())
      counters_.dropped(drop::malformed);
    else
      arrived(from, by, frames_);
    frames_.clear();
    if (by != nullptr && !by->wire) return;  // it ended with what it said
  }
  from.may_have_more = true;
}

void engine::take_losses() {
  for (const auto& each : routers_) {
    if (!std::exchange(each->may_have_lost, false)) continue;
    for (const int descriptor : each->watch.lost()) {
      auto found = sources_.find(descriptor);
      if (found == sources_.end()) continue;  // it never said HELLO
      losses_.emplace_back(found->second->id, error{errc::unavailable, "its connection was closed"});
      sources_.erase(found);
    }
  }
}

void engine::apply_losses() {
  while (!losses_.empty()) {
    auto lost = std::exchange(losses_, {});
    for (auto& [id, reason] : lost) {
      auto found = peers_.find(id);
      if (found == peers_.end()) continue;
      if (auto* by = found->second->dialed)
        hang_up(*by, std::move(reason));
      else
        down(id, std::move(reason));
    }
  }
}

/// Neither a connection that is nor one whose key was taken off the list goes on.
void engine::drop_revoked() {
  if (!access_) return;
  auto now = options_.identity->book->current();
  if (now == access_) return;
  access_ = std::move(now);
  for (const auto& [id, who] : peers_) {
    if (who->key.empty()) continue;
    const auto* entry = access_->find(who->key);
    const bool stands = entry != nullptr && may_be(entry->role, who->said.service) &&
                        (who->said.service != service_kind::client || who->administers == may_administer(entry->role));
    if (!stands) losses_.emplace_back(id, error{errc::permission_denied, "its key is not, or no longer, allowed"});
  }
  apply_losses();
}

void engine::write() {
  outbox_.take(parcels_, commands_);
  for (auto& command : commands_) command();
  for (auto& next : parcels_) deliver(std::move(next));
  if (!behind_.empty()) {
    const std::vector<peer_id> all(behind_.begin(), behind_.end());
    for (const auto id : all)
      if (auto found = peers_.find(id); found != peers_.end()) flush(*found->second);
  }
  apply_losses();
}

void engine::tick(time_point now) {
  const auto beat = options_.heartbeat;
  // We were stopped, not they: what they sent meanwhile has yet to be read.
  const bool was_away = now - last_tick_ > 2 * beat;
  last_tick_ = now;
  tick_due_ = now + beat / 2;

  drop_revoked();
  const bool heartbeat_is_due = now >= heartbeat_due_;
  if (heartbeat_is_due) {
    heartbeat_due_ = now + beat;
    ++heartbeats_;
  }
  for (auto& [id, who] : peers_) {
    if (was_away) who->heard = now;
    if (now - who->heard >= silent_heartbeats * beat)
      losses_.emplace_back(id, error{errc::unavailable, "nothing was heard of it for " +
                                                            std::to_string(silent_heartbeats) + " heartbeats"});
    // A peer whose queue is full hears enough of us.
    else if (heartbeat_is_due && !std::exchange(who->spoken_to, false) && who->waiting.empty())
      say(*who, heartbeat{heartbeats_});
  }
  apply_losses();

  for (auto each = dialers_.begin(); each != dialers_.end();) {
    if (each->retired && each->now != dialer::state::up) {
      if (each->wire) forget(*each->wire);
      each = dialers_.erase(each);
      continue;
    }
    if (each->now == dialer::state::greeting && now >= each->due)
      hang_up(*each, {errc::unavailable, each->endpoint + " does not answer HELLO"});
    if (each->now == dialer::state::waiting && now >= each->due) dial(*each);
    if (each->now == dialer::state::waiting || each->now == dialer::state::greeting) due_by(each->due);
    ++each;
  }
}

void engine::stop_listening() {
  std::map<line*, std::size_t> closing;
  for (const auto& endpoint : endpoints_) {
    auto& router = router_for(endpoint);
    router.talk.unbind(endpoint);
    if (!endpoint.starts_with("inproc://")) ++closing[&router];
  }
  endpoints_.clear();
  for (const auto& [router, count] : closing) router->watch.await_closed(count, close_limit_ms);
  guards_.clear();
  admission_.reset();
}

/// What was sent may wait for room in ZeroMQ, and a piece for the word that those before it were taken.
void engine::finish_writing() {
  sink_ = [](const link_event&) {};
  after_poll_ = nullptr;
  const auto is_written = [](const auto& entry) {
    return entry.second->waiting.empty() && entry.second->outgoing.arrived();
  };
  const auto until = steady::now() + longest_farewell;
  while (steady::now() < until && !std::all_of(peers_.begin(), peers_.end(), is_written)) {
    due_by(until);
    wait();
    round();
  }
}

void engine::say_goodbye() {
  const auto linger = [](line& wire) { wire.talk.set(ZMQ_LINGER, goodbye_linger_ms); };
  for (const auto& each : routers_) linger(*each);
  for (auto& each : dialers_)
    if (each.now == dialer::state::up) linger(*each.wire);
  for (auto& [id, who] : peers_) {
    outbox_.close(id);
    say(*who, goodbye{});
  }
}

}  // namespace shoal::link
