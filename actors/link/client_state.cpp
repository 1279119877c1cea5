#include "link/client_state.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/back_off.hpp"

namespace shoal::link {

using namespace shoal::protocol;

namespace {
/// For room at a gateway that no outcome will announce: what waits to be written to it.
constexpr milliseconds room_check{20};
/// A gateway that ends refuses at once, so it has the least in flight always: others are asked first.
constexpr milliseconds last_choice{1000};
/// The gateway says itself which workers have not answered a load in time.
constexpr milliseconds manage_grace{1000};
/// What the wire can tell (codec.hpp: max_time_us), and adding it to a clock cannot overflow.
constexpr milliseconds longest{(std::int64_t{1} << 40) / 1000};
}  // namespace

client_state::client_state(protocol::link& port, std::string whom, client_policy with, std::uint64_t seed)
    : port_(port),
      whom_(std::move(whom)),
      policy_(with),
      budget_(with.retry_ratio, with.retry_reserve, with.retry_most),
      random_(static_cast<std::minstd_rand::result_type>(seed ^ (seed >> 32))) {}

error client_state::not_connected() const {
  return {errc::unavailable,
          "the gateway at " + whom_ + " cannot be reached" + (complaint_.empty() ? "" : ": " + complaint_)};
}

milliseconds client_state::with_jitter(milliseconds wait) {
  const auto most = static_cast<std::int64_t>(static_cast<double>(wait.count()) * policy_.jitter);
  return wait + milliseconds(std::uniform_int_distribution<std::int64_t>(0, std::max<std::int64_t>(0, most))(random_));
}

client_state::gateway* client_state::find(peer_id peer) {
  for (auto& each : gateways_)
    if (each.peer == peer) return &each;
  return nullptr;
}

// --- events ---------------------------------------------------------------------------------------------------------

void client_state::on(link_event& event, time_point now) {
  if (const auto* up = std::get_if<peer_up>(&event)) {
    if (up->service != service_kind::gateway) return;
    gateways_.push_back({up->peer, 0, {}, {}, {}});
    complaint_.clear();
    for (auto& [id, each] : questions_)
      if (each.at == 0) put(id, each, now);
    return pump(now);
  }
  if (const auto* down = std::get_if<peer_down>(&event)) return on_down(down->peer, down->reason, now);
  auto& [from, body] = std::get<delivery>(event);
  auto* gateway = find(from);
  if (gateway == nullptr) return;
  if (auto* ended = std::get_if<outcome>(&body)) {
    on_outcome(from, *ended, now);
  } else if (std::holds_alternative<catalogue>(body)) {
    answer_first(gateway->catalogues, std::move(body));
  } else if (std::holds_alternative<report>(body)) {
    answer_first(gateway->reports, std::move(body));
  } else if (const auto* done = std::get_if<managed>(&body)) {
    const auto id = done->key.id;
    answer(id, std::move(body));
  }
}

void client_state::on_down(peer_id peer, const error& reason, time_point now) {
  const auto gone = std::find_if(gateways_.begin(), gateways_.end(), [&](const auto& g) { return g.peer == peer; });
  if (gone == gateways_.end()) return;
  gateways_.erase(gone);
  const error lost{errc::unavailable, "the gateway is gone: " + reason.message};

  std::vector<request_id> ids;
  for (const auto& [id, each] : requests_)
    if (each.now == standing::in_flight && each.at == peer) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  lost_in_flight_ += ids.size();
  for (const auto id : ids) {
    auto& each = requests_.at(id);
    leave(each);
    if (!again(id, each, lost, true, now)) end(id, outcome{id, 0, tl::unexpected(lost)});
  }

  ids.clear();
  for (const auto& [id, each] : questions_)
    if (each.at == peer) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  for (const auto id : ids) {
    auto& each = questions_.at(id);
    each.at = 0;
    // What was loaded or unloaded is not known: the caller has to look.
    if (std::holds_alternative<manage>(each.what) || !policy_.retries)
      answer(id, tl::unexpected(lost));
    else
      put(id, each, now);
  }
  pump(now);
}

void client_state::on_outcome(peer_id from, outcome& body, time_point now) {
  auto id = body.id;
  auto found = requests_.find(id);
  if (found == requests_.end()) {
    const auto retried = wires_.find(id);
    if (retried != wires_.end()) found = requests_.find(id = retried->second);
  }
  // It has ended before, or was tried again meanwhile: its one outcome is, or will be, another.
  if (found == requests_.end() || found->second.now != standing::in_flight || found->second.at != from ||
      found->second.wire != body.id) {
    ++unexpected_;
    return;
  }
  auto& request = found->second;
  leave(request);
  if (!body.result && body.result.error().code == errc::unavailable) find(from)->last_choice_until = now + last_choice;
  if (body.result || !again(id, request, body.result.error(), false, now)) end(id, std::move(body));
  pump(now);
}

// --- requests -------------------------------------------------------------------------------------------------------

request_id client_state::submit(infer request, milliseconds within, done on_outcome, time_point now) {
  within = std::clamp(within, milliseconds::zero(), longest);
  const auto id = request.id = next_id_++;
  if (request.time_left.count() == 0) request.time_left = within;
  budget_.earn();
  const auto due = now + within;
  auto& made =
      requests_.emplace(id, client_state::request{std::move(request), std::move(on_outcome), due, {}, 0, 0, 0, 0, {}})
          .first->second;
  deadlines_.add(due + policy_.grace, id);
  deadlines_.prune(requests_.size() + questions_.size(),
                   [this](request_id known) { return requests_.contains(known) || questions_.contains(known); });
  if (waiting_.size() > 2 * requests_.size() + 64)  // what ended while there was no gateway
    std::erase_if(waiting_, [this](request_id waits) { return !requests_.contains(waits); });
  if (!waiting_.empty() && (connected() ? policy_.queues : policy_.waits)) {
    waiting_.push_back(id);  // first come, first served
  } else if (place(id, made, now) == placed::blocked) {
    waiting_.push_back(id);
    if (connected()) stalled_ = now + room_check;
  }
  return id;
}

void client_state::order_gateways(peer_id rather_not, time_point now) {
  order_.clear();
  const auto n = gateways_.size();
  const auto first = n > 0 ? turn_++ % n : 0;
  for (std::size_t i = 0; i < n; ++i) order_.push_back(&gateways_[(first + i) % n]);
  if (n < 2) return;
  std::stable_sort(order_.begin(), order_.end(), [&](const gateway* a, const gateway* b) {
    const auto rank = [&](const gateway* g) {
      return std::tuple(g->last_choice_until > now, g->peer == rather_not, g->in_flight);
    };
    return rank(a) < rank(b);
  });
}

/// Sends a request to the gateway that has the least of this client's in flight. `blocked`: it has to wait.
client_state::placed client_state::place(request_id id, request& which, time_point now) {
  auto why = not_connected();
  const auto left = std::chrono::duration_cast<microseconds>(which.due - now);
  order_gateways(which.last_at, now);
  if (left <= microseconds::zero() && !order_.empty()) return placed::blocked;  // its timer is about to end it
  const bool last_use = !policy_.retries && !policy_.queues && order_.size() == 1;
  for (auto* to : order_) {
    auto body = last_use ? std::move(which.body) : which.body;
    body.id = which.tries == 0 ? id : next_id_++;
    body.time_left = std::min(body.time_left, left);
    const auto wire = body.id;
    if (auto sent = port_.send(to->peer, std::move(body)); !sent) {
      why = std::move(sent.error());
      if (why.code == errc::overloaded || why.code == errc::unavailable) continue;
      end(id, outcome{id, 0, tl::unexpected(std::move(why))});
      return placed::ended;
    }
    if (which.tries > 0) wires_.emplace(wire, id);
    which.now = standing::in_flight;
    which.at = which.last_at = to->peer;
    which.wire = wire;
    which.tries += 1;
    to->in_flight += 1;
    return placed::sent;
  }
  if (connected() ? policy_.queues : policy_.waits) return placed::blocked;
  end(id, outcome{id, 0, tl::unexpected(std::move(why))});
  return placed::ended;
}

/// Sends what waits, in order, as far as there is room.
void client_state::pump(time_point now) {
  stalled_.reset();
  while (!waiting_.empty()) {
    const auto id = waiting_.front();
    const auto found = requests_.find(id);
    if (found != requests_.end() && found->second.now == standing::waiting &&
        place(id, found->second, now) == placed::blocked) {
      if (connected()) stalled_ = now + room_check;
      return;
    }
    waiting_.pop_front();
  }
}

/// Lets a request that failed with `why` be tried again, if that is worth it. False: it is over.
bool client_state::again(request_id id, request& which, const error& why, bool lost, time_point now) {
  if (!policy_.retries || !why.retryable) return false;
  milliseconds wait{0};
  if (why.retry_after > milliseconds::zero()) {
    wait = with_jitter(why.retry_after);
  } else if (!lost && !(which.tries == 1 && why.code == errc::unavailable && gateways_.size() > 1)) {
    wait = with_jitter(doubled(policy_.first_back_off, which.tries - 1, policy_.last_back_off));
  }
  if (now + wait >= which.due) return false;
  if (!budget_.take(now)) {
    ++retries_refused_;
    return false;
  }
  ++retries_;
  which.last = why;
  if (wait > milliseconds::zero()) {
    which.now = standing::resting;
    resting_.add(now + wait, {id, which.tries});
  } else {
    which.now = standing::waiting;
    waiting_.push_back(id);
  }
  return true;
}

/// It is no longer in flight.
void client_state::leave(request& which) {
  if (which.now != standing::in_flight) return;
  if (auto* at = find(which.at)) at->in_flight -= 1;
  wires_.erase(which.wire);
  which.at = 0;
  which.now = standing::waiting;
}

void client_state::end(request_id id, outcome with) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  leave(found->second);
  with.id = id;
  with.attempt = found->second.tries > 0 ? found->second.tries - 1 : 0;
  endings_.requests.push_back({std::move(found->second.tell), std::move(with)});
  requests_.erase(found);
}

void client_state::give_up(request_id id, error why) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  if (found->second.now == standing::in_flight) {
    port_.settle(found->second.at, found->second.wire);
    // If it cannot be told, the gateway's own deadline ends the request there.
    static_cast<void>(port_.send(found->second.at, protocol::cancel{{0, found->second.wire}}));
  }
  end(id, outcome{id, 0, tl::unexpected(std::move(why))});
}

void client_state::expire(request_id id) {
  const auto& request = requests_.at(id);
  error why{errc::deadline_exceeded, "no outcome came from " + whom_ + " within the time given"};
  if (request.now != standing::in_flight) {
    why.message =
        (connected() ? "no room was found at " : "no gateway could be reached at ") + whom_ + " within the time given";
    if (!connected() && !complaint_.empty()) why.message += ": " + complaint_;
    why.retryable = request.tries == 0;  // it has certainly not run
  }
  if (request.last)
    why.message += "; it was tried " + std::to_string(request.tries) + " times, and at last: " + request.last->message;
  give_up(id, std::move(why));
}

// --- questions ------------------------------------------------------------------------------------------------------

void client_state::ask(question what, milliseconds within, heard on_answer, time_point now) {
  within = std::clamp(within, milliseconds::zero(), longest);
  const auto id = next_id_++;
  auto due = now + within;
  if (auto* change = std::get_if<manage>(&what)) {
    change->key = {0, id};
    change->time_left = within;
    due += manage_grace;
  }
  auto& made = questions_.emplace(id, pending{std::move(what), std::move(on_answer), 0}).first->second;
  deadlines_.add(due, id);
  if (!put(id, made, now) && !policy_.waits) answer(id, tl::unexpected(not_connected()));
}

bool client_state::put(request_id id, pending& which, time_point now) {
  order_gateways(0, now);
  for (auto* to : order_) {
    if (!std::visit([&](const auto& body) { return port_.send(to->peer, body).has_value(); }, which.what)) continue;
    which.at = to->peer;
    if (std::holds_alternative<describe>(which.what)) to->catalogues.push_back(id);
    if (std::holds_alternative<inquire>(which.what)) to->reports.push_back(id);
    return true;
  }
  return false;
}

/// A catalogue that nobody asked for is news, which this client does not follow.
void client_state::answer_first(std::deque<request_id>& of, message body) {
  if (of.empty()) return;
  const auto id = of.front();
  of.pop_front();
  answer(id, std::move(body));
}

void client_state::answer(request_id id, expected<message> with) {
  auto node = questions_.extract(id);
  if (!node.empty()) endings_.questions.push_back({std::move(node.mapped().tell), std::move(with)});
}

// --- time -----------------------------------------------------------------------------------------------------------

void client_state::tick(time_point now) {
  while (const auto id = deadlines_.pop_due(now)) {
    if (requests_.contains(*id))
      expire(*id);
    else if (questions_.contains(*id))
      answer(*id, fail(errc::deadline_exceeded, "no answer came from " + whom_ + " within the time given"));
  }
  bool rested = false;
  while (const auto over = resting_.pop_due(now)) {
    const auto found = requests_.find(over->id);
    if (found == requests_.end() || found->second.now != standing::resting || found->second.tries != over->tries)
      continue;
    found->second.now = standing::waiting;
    waiting_.push_back(over->id);
    rested = true;
  }
  if (rested || (stalled_ && now >= *stalled_)) pump(now);
}

std::optional<time_point> client_state::next() const {
  auto next = deadlines_.next();
  const auto sooner = [&](const std::optional<time_point>& when) {
    if (when) next = next ? std::min(*next, *when) : *when;
  };
  sooner(resting_.next());
  sooner(stalled_);
  return next;
}

void client_state::close(const error& why) {
  gateways_.clear();
  while (!requests_.empty()) end(requests_.begin()->first, outcome{0, 0, tl::unexpected(why)});
  while (!questions_.empty()) answer(questions_.begin()->first, tl::unexpected(why));
  waiting_.clear();
}

std::vector<figure> client_state::figures() const {
  return {{"client_in_flight", static_cast<double>(requests_.size())},
          {"client_retries", static_cast<double>(retries_)},
          {"client_retries_refused", static_cast<double>(retries_refused_)},
          {"client_lost_in_flight", static_cast<double>(lost_in_flight_)},
          {"client_unexpected", static_cast<double>(unexpected_)}};
}

}  // namespace shoal::link
