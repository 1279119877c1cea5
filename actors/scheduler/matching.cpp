// The part of the scheduler's mind that gives workers what waits for them (scheduler_state.hpp): an offer draws a
// batch, and the staged batch of a busy worker grows until it starts.
#include <algorithm>

#include <spdlog/spdlog.h>

#include "scheduler/scheduler_state.hpp"

namespace shoal::scheduler {

using namespace protocol;

namespace {

/// What one message of the link carries (schemas/README.md): tensors of a batch, keys of its completion.
constexpr std::size_t max_tensors = 4096;
constexpr std::size_t max_members = 1024;

microseconds since(time_point then, time_point now) { return std::chrono::duration_cast<microseconds>(now - then); }

}  // namespace

batch_limits scheduler_state::limits_of(const model& model) const {
  const auto inputs = std::max<std::size_t>(model.spec.inputs.size(), 1);
  return {row_limit(model.spec), options_.max_padding, std::min(max_members, max_tensors / inputs)};
}

peer_id scheduler_state::gateway_of(instance_id instance) const {
  // The newest connection: an older one of the same gateway is about to be reported as lost.
  for (auto at = gateways_.rbegin(); at != gateways_.rend(); ++at)
    if (at->second == instance) return at->first;
  return 0;
}

void scheduler_state::serve(model_key key, time_point now) {
  const auto found = models_.find(key);
  if (found == models_.end()) return;
  auto& model = found->second;
  while (!model.queue.empty()) {
    // An idle worker first; then a staged batch that has room; then the free stage of whoever has run longest.
    peer_id best = 0;
    time_point busy_since = time_point::max();
    for (auto& [peer, worker] : workers_) {
      if (worker.offers.empty() || !worker.models.contains(key)) continue;
      const auto since = worker.batches.empty() ? time_point::min() : batches_.at(worker.batches.front()).dispatched;
      if (best == 0 || since < busy_since) best = peer, busy_since = since;
    }
    const bool idle = best != 0 && busy_since == time_point::min();
    if (!idle && extend_staged(key, model, now)) continue;
    if (best == 0) return;
    dispatch(best, workers_.at(best), key, now);
  }
}

bool scheduler_state::give_work(peer_id peer, time_point now) {
  auto& worker = workers_.at(peer);
  if (worker.offers.empty()) return false;
  // The most urgent model; but one turn in several is that of the model whose request has waited longest.
  const bool turn_of_the_old = ++turns_ % model_queue::turn_of_the_old == 0;
  const model_key* next = nullptr;
  urgency most_urgent;
  time_point oldest_arrival = time_point::max();
  for (auto& [key, model] : models_) {
    if (model.queue.empty() || !worker.models.contains(key)) continue;
    const auto urgency = model.queue.most_urgent();
    const auto arrival = model.queue.oldest_arrival();
    if (next == nullptr || (turn_of_the_old ? arrival < oldest_arrival : urgency < most_urgent))
      next = &key, most_urgent = urgency, oldest_arrival = arrival;
  }
  if (next == nullptr) return false;
  dispatch(peer, worker, *next, now);
  return true;
}

bool scheduler_state::extend_staged(model_key key, model& model, time_point now) {
  for (auto& [peer, worker] : workers_) {
    if (worker.batches.size() < 2) continue;
    const auto id = worker.batches.back();
    auto& batch = batches_.at(id);
    if (batch.started || batch.model != key) continue;
    auto members = model.queue.take_for(batch.shape, limits_of(model), now);
    if (members.empty()) continue;
    send_members(id, batch, 0, std::move(members), now);
    return true;
  }
  return false;
}

void scheduler_state::dispatch(peer_id peer, worker& worker, const model_key& key, time_point now) {
  auto& model = models_.at(key);
  const auto offer = worker.offers.front();
  worker.offers.pop_front();
  const auto id = next_batch_++;
  auto& batch = batches_[id];
  batch.worker = peer;
  batch.model = key;
  batch.dispatched = now;
  batch.started = worker.batches.empty();  // an idle worker starts it at once
  worker.batches.push_back(id);
  batches_total_.Increment();
  auto members = model.queue.take_for(batch.shape, limits_of(model), now);
  send_members(id, batch, offer, std::move(members), now);
}

void scheduler_state::send_members(batch_id id, running_batch& batch, offer_id offer, std::vector<waiting> members,
                                   time_point now) {
  protocol::batch message{id, offer, {}};
  for (auto& member : members) {
    waiting_.erase(member.key);
    --queued_;
    dispatched_[member.key] = id;
    rows_total_.Increment(static_cast<double>(member.profile.rows));
    queue_seconds_.Observe(std::chrono::duration<double>(now - member.arrived).count());
    auto request = member.request;
    request.time_left = since(now, member.deadline);
    message.members.push_back({member.key, std::move(request), since(member.arrived, now)});
    batch.members.push_back(std::move(member));
  }
  const auto sent = link_.send(batch.worker, std::move(message));
  // A worker that is gone is about to be reported as lost, and its batches with it.
  if (!sent && sent.error().code != errc::unavailable) take_back(id, batch, offer, members.size(), sent.error());
}

/// The link would not carry the last `count` members of a batch to a worker that is well. Nobody else would end them,
/// or give the worker's place back.
void scheduler_state::take_back(batch_id id, running_batch& batch, offer_id offer, std::size_t count,
                                const error& reason) {
  spdlog::warn("{} request(s) for model '{}' version {} could not be handed to a worker: {}", count, batch.model.first,
               batch.model.second, reason.message);
  for (; count > 0; --count) {
    const auto member = std::move(batch.members.back());
    batch.members.pop_back();
    if (!release(member.key, id)) continue;
    if (const auto gateway = gateway_of(member.key.gateway); gateway != 0) refuse(gateway, member.request, reason);
  }
  batch.shape.closed = true;
  if (offer == 0) return;
  auto& worker = workers_.at(batch.worker);
  std::erase(worker.batches, id);
  worker.offers.push_front(offer);
  batches_.erase(id);
}

}  // namespace shoal::scheduler
