// The part of the gateway's mind (gateway_state.hpp) that chooses the scheduler of each request, and another one when
// that is lost or does badly.
#include <algorithm>
#include <tuple>

#include <spdlog/spdlog.h>

#include "core/rendezvous.hpp"
#include "gateway/gateway_state.hpp"

namespace shoal::gateway {

using namespace protocol;

/// The scheduler that owns the model: one of those that know it, of these rather one whose workers are ready, and
/// rather one that is not set aside, or was longest ago. A scheduler that has just started knows none yet. 0: there is
/// none.
peer_id gateway_state::owner_of(const std::string& model, std::uint64_t version, time_point now) const {
  peer_id owner = 0;
  std::tuple<bool, steady::duration, std::uint64_t> best;
  for (const auto& [peer, scheduler] : schedulers_) {
    const auto& known = scheduler.models.models;
    const auto spec = std::find_if(known.begin(), known.end(),
                                   [&](const model_spec& s) { return s.name == model && s.version == version; });
    if (spec == known.end()) continue;
    const std::tuple rank(spec->state == model_state::ready, scheduler.standing.rank(now),
                          rendezvous_weight(model, scheduler.instance));
    if (owner == 0 || rank > best) owner = peer, best = rank;
  }
  return owner;
}

/// Sends the head of a request to the scheduler that owns its model; until there is one the request waits.
void gateway_state::place(request_id id, held& held, time_point now) {
  const auto owner = owner_of(held.request.model, held.request.version, now);
  if (owner == 0) return;
  auto head = held.request;
  head.time_left = std::chrono::duration_cast<microseconds>(held.deadline - now);
  if (held.bytes > options_.inline_bytes) {
    head.payload_held = true;
    for (auto& input : head.inputs) input.data = {};
  }
  held.scheduler = owner;
  held.placed = now;
  schedulers_.at(owner).standing.given(now);
  if (auto sent = link_.send(owner, std::move(head)); !sent) {
    // A lost peer's `peer_down` is on its way and will place the request again.
    if (sent.error().code == errc::unavailable) return;
    finish_with(id, sent.error(), now);
  }
}

void gateway_state::place_waiting(time_point now) {
  std::vector<request_id> waiting;  // placing may end a request
  for (const auto& [id, request] : requests_)
    if (request.scheduler == 0) waiting.push_back(id);
  std::sort(waiting.begin(), waiting.end());  // who came first goes first
  for (const auto id : waiting)
    if (const auto found = requests_.find(id); found != requests_.end()) place(id, found->second, now);
}

/// It is with its scheduler no more, answered or not.
void gateway_state::leave_scheduler(held& request) {
  if (const auto found = schedulers_.find(request.scheduler); found != schedulers_.end()) found->second.standing.gone();
  request.scheduler = 0;
}

/// It is wanted from its scheduler no more. Best effort: one that cannot be told runs it in vain, and its outcome is
/// counted as late.
void gateway_state::call_back(request_id id, held& request) {
  if (request.scheduler == 0) return;
  link_.settle(request.scheduler, id);
  static_cast<void>(link_.send(request.scheduler, cancel{{options_.instance, id}}));
  leave_scheduler(request);
}

/// To be placed again; `place_waiting` does it.
void gateway_state::take_from_scheduler(held& request) {
  leave_scheduler(request);
  ++request.request.attempt;
  handed_again_.Increment();
}

/// What an outcome tells of the scheduler that the request is with.
void gateway_state::note_answer(const held& request, const outcome& outcome, time_point now) {
  const auto found = schedulers_.find(request.scheduler);
  if (found == schedulers_.end() || outcome.attempt < request.request.attempt) return;  // another one had it run
  const auto latency = now - request.placed;
  std::optional<steady::duration> way;
  // A large payload comes from here: that takes its time whatever the scheduler does.
  if (outcome.result && request.bytes <= options_.inline_bytes)
    way = std::max<steady::duration>(latency - outcome.queue_time - outcome.compute_time, {});
  found->second.standing.answered(outcome.result.has_value(), way, now);
}

void gateway_state::look_for_slowness(peer_id peer, time_point now) {
  const auto found = schedulers_.find(peer);
  if (found == schedulers_.end() || !found->second.standing.may_be_better(now)) return;
  const auto& own = found->second.standing;
  if (!another_is(peer, now, [&](const standing& other) { return own.is_slower_than(other); })) return;
  set_aside(peer, "the way of its requests is much longer than another one's, or than it was", now);
  place_waiting(now);
}

void gateway_state::look_for_silence(time_point now) {
  bool any = false;
  for (auto& [peer, scheduler] : schedulers_) {
    auto& standing = scheduler.standing;
    if (!standing.is_silent(now)) continue;
    if (!standing.may_be_better(now) || !another_is(peer, now, [](const auto&) { return true; })) {
      standing.excused(now);  // looked at again when it has been silent for as long once more
      continue;
    }
    set_aside(peer, "it has answered nothing for too long, and there is another one", now);
    any = true;
  }
  if (any) place_waiting(now);
}

/// Whether there is another scheduler that serves, not silent, not set aside just now, and such as `is` says.
template <class Is>
bool gateway_state::another_is(peer_id than, time_point now, Is&& is) const {
  return std::any_of(schedulers_.begin(), schedulers_.end(), [&](const auto& entry) {
    const auto& [peer, other] = entry;
    const auto& known = other.models.models;
    return peer != than && other.standing.may_be_better(now) && !other.standing.is_silent(now) && is(other.standing) &&
           std::any_of(known.begin(), known.end(), [](const model_spec& s) { return s.state == model_state::ready; });
  });
}

/// A worker has gone or come: that no answers come until then is not for the schedulers to explain.
void gateway_state::excuse_silence(time_point until) {
  for (auto& [peer, scheduler] : schedulers_) scheduler.standing.excused(until);
}

/// It loses what another one may answer in time.
void gateway_state::set_aside(peer_id peer, const char* why, time_point now) {
  auto& from = schedulers_.at(peer);
  from.standing.set_aside(now);
  set_aside_.Increment();
  spdlog::warn("scheduler {:x} is given nothing for a while: {}", from.instance, why);
  for (auto& [id, each] : requests_) {
    if (each.scheduler != peer || owner_of(each.request.model, each.request.version, now) == peer) continue;
    call_back(id, each);
    take_from_scheduler(each);
  }
}

}  // namespace shoal::gateway
