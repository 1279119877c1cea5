// The part of the scheduler's mind that gives workers what waits for them (scheduler_state.hpp): an idle worker draws a
// batch at once, a busy one shortly before it is free, and the staged batch grows until it starts.
#include <algorithm>
#include <cmath>

#include <spdlog/spdlog.h>

#include "scheduler/scheduler_state.hpp"

namespace shoal::scheduler {

using namespace protocol;

namespace {

/// What one message of the link carries (schemas/README.md): tensors of a batch, keys of its completion.
constexpr std::size_t max_tensors = 4096;
constexpr std::size_t max_members = 1024;

/// A worker that is slower than the profile says is believed to stay so.
microseconds at_pace(std::chrono::duration<double> takes, const worker& worker) {
  return std::chrono::duration_cast<microseconds>(takes * worker.pace);
}

constexpr milliseconds write_pause{100};

constexpr int most_looked_at = 16;  ///< staged batches, for one that can be extended or recalled

microseconds since(time_point then, time_point now) { return std::chrono::duration_cast<microseconds>(now - then); }

}  // namespace

batch_limits scheduler_state::limits_of(const model& model, const latency_profile& profile, time_point start) const {
  const auto inputs = std::max<std::size_t>(model.spec.inputs.size(), 1);
  batch_limits limits{row_limit(model.spec), options_.max_padding, std::min(max_members, max_tensors / inputs)};
  if (profile.empty()) return limits;
  limits.profile = &profile;
  limits.start = start;
  if (const auto most = profile.tokens_for_fixed_share(options_.fixed_share)) limits.tokens = *most;
  return limits;
}

peer_id scheduler_state::gateway_of(instance_id instance) const {
  // The newest connection: an older one of the same gateway is about to be reported as lost.
  for (auto at = gateways_.rbegin(); at != gateways_.rend(); ++at)
    if (at->second == instance) return at->first;
  return 0;
}

/// The payload of a request that is held at its gateway is fetched while the batch before it runs.
bool scheduler_state::is_time(const model& model, time_point free_at, time_point now) const {
  return free_at <= now + options_.stage_ahead || model.queue.front().request.payload_held;
}

std::optional<time_point> scheduler_state::stage_at(const model& model) const {
  if (model.queue.empty()) return std::nullopt;
  const auto& first = model.queue.front();
  const auto next = model.workers.soonest({first.profile.rows, first.profile.length}, now_);
  if (!next || next->idle) return std::nullopt;
  return next->free_at - options_.stage_ahead;
}

void scheduler_state::serve(model_key key, time_point now) {
  const auto found = models_.find(key);
  if (found == models_.end()) return;
  auto& model = found->second;
  let_suspects_go(model, now);
  while (!model.queue.empty()) {
    // An idle worker first; then a staged batch that has room; then the stage of whoever will be free first.
    const auto& first = model.queue.front();
    const auto next = model.workers.soonest({first.profile.rows, first.profile.length}, now);
    if (!(next && next->idle) && extend_staged(key, model, now)) continue;
    if (!next || !is_time(model, next->free_at, now)) break;
    dispatch(*next->worker, key, model, now);
  }
  if (model.queue.empty()) return;
  recall_for(key, model);
  ask_for_place(model);
}

void scheduler_state::serve_each(const std::map<std::uint64_t, model*>& models, time_point now) {
  for (auto at = models.begin(); at != models.end();) {
    const auto& model = *(at++)->second;  // which may be none of them any more once it is served
    serve(*model.key, now);
  }
}

void scheduler_state::ask_for_place(model& model) {
  const auto most_urgent = model.queue.front().request.priority;
  auto* worker = model.workers.to_ask(rank_of(most_urgent));
  if (worker == nullptr || !link_.send(worker->peer, want{most_urgent})) return;
  worker->asked = rank_of(most_urgent);
}

bool scheduler_state::give_work(worker& worker, time_point now) {
  if (!fleet::may_work(worker)) return false;
  // The most urgent model; but one turn in several is that of the model whose request has waited longest.
  const bool turn_of_the_old = ++turns_ % model_queue::turn_of_the_old == 0;
  model* waits = nullptr;
  urgency most_urgent;
  time_point oldest_arrival = time_point::max();
  for (const auto& [number, model] : awaited_) {
    if (!worker.models.contains(*model->key)) continue;
    const auto urgency = model->queue.most_urgent();
    const auto arrival = model->queue.oldest_arrival();
    if (waits == nullptr || (turn_of_the_old ? arrival < oldest_arrival : urgency < most_urgent))
      waits = model, most_urgent = urgency, oldest_arrival = arrival;
  }
  if (waits == nullptr) return false;
  if (!is_time(*waits, worker.free_from(), now)) return false;
  dispatch(worker, *waits->key, *waits, now, !turn_of_the_old);
  return true;
}

bool scheduler_state::extend_staged(const model_key& key, model& model, time_point now) {
  int looked_at = 0;
  for (const auto& entry : staged_) {
    const auto [rank, id] = entry;  // which may be made anew
    if (++looked_at > most_looked_at) break;
    auto& batch = batches_.at(id);
    if (batch.recalled || batch.model != key) continue;
    auto& worker = *batch.worker;
    const auto* profile = model.workers.profile_of(worker);
    if (profile == nullptr) continue;
    const auto limits = limits_of(model, *profile, std::max(now, worker.free_at));
    if (!fits(batch.shape, model.queue.front(), limits)) continue;
    auto members = model.queue.take_for(batch.shape, limits, now);
    note_queue(model);
    if (batch.shape.rank != rank) {
      staged_.erase({rank, id});
      staged_.emplace(batch.shape.rank, id);
    }
    if (const auto takes = profile->predict(batch.shape.size()); takes && batch.predicted) {
      const auto more = at_pace(*takes, worker) - *batch.predicted;
      *batch.predicted += more;
      worker.staged += more;
      workers_.update(worker);
    }
    const bool any = !members.empty();
    if (any) send_members(id, batch, 0, std::move(members), now);
    return any;
  }
  return false;
}

/// A critical request may have the place of a staged batch, never of a running one: the least urgent batch that is
/// staged at a worker of its model is asked back.
void scheduler_state::recall_for(const model_key& key, model& model) {
  const auto rank = rank_of(model.queue.front().request.priority);
  if (rank != rank_of(priority::critical) || model.queue.front().returned) return;
  int looked_at = 0;
  for (auto at = staged_.rbegin(); at != staged_.rend() && at->first > rank && looked_at < most_looked_at; ++at) {
    ++looked_at;
    auto& batch = batches_.at(at->second);
    auto& worker = *batch.worker;
    if (batch.recalled || !batch.shape.makes_way || !worker.leases || !worker.models.contains(key)) continue;
    if (!link_.send(worker.peer, recall{at->second})) continue;  // it is about to be reported as lost
    batch.recalled = true;
    recalled_.Increment();
    return;
  }
}

void scheduler_state::dispatch(worker& worker, const model_key& key, model& model, time_point now, bool makes_way) {
  const auto offer = worker.offers.back();
  worker.offers.pop_back();
  const auto id = next_batch_++;
  auto& batch = batches_[id];
  batch.worker = &worker;
  batch.model = key;
  batch.shape.makes_way = makes_way;
  const bool is_idle = worker.batches.empty() && worker.others_until <= now;
  if (worker.batches.empty() && worker.kept_since && !is_wanted_since(worker, *worker.kept_since))
    worker.kept_since.reset();
  const auto* profile = model.workers.profile_of(worker);
  const auto begin = std::max(now, worker.free_from());
  auto members = model.queue.take_for(batch.shape, limits_of(model, *profile, begin), now);
  note_queue(model);
  if (const auto takes = profile->predict(batch.shape.size())) batch.predicted = at_pace(*takes, worker);
  worker.batches.push_back(id);
  if (is_idle) {
    start(batch, worker, now);
  } else {
    staged_.emplace(batch.shape.rank, id);
    worker.staged += batch.predicted.value_or(microseconds::zero());
    if (worker.batches.size() == 1) worker.free_at = worker.others_until;
  }
  workers_.was_given_work(worker);
  workers_.update(worker);
  batches_total_.Increment();
  send_members(id, batch, offer, std::move(members), now);
}

void scheduler_state::start(running_batch& batch, worker& worker, time_point now) {
  batch.started = true;
  batch.started_at = now;
  worker.free_at = now + batch.predicted.value_or(microseconds::zero());
}

void scheduler_state::start_staged(batch_id id, worker& worker, time_point now) {
  const auto found = batches_.find(id);
  if (found == batches_.end() || found->second.worker != &worker) return;
  // One that was taken to have started at once, and had to wait after all, starts now.
  if (!found->second.started) is_staged_no_more(id, found->second);
  start(found->second, worker, now);
}

void scheduler_state::is_staged_no_more(batch_id id, const running_batch& batch) {
  staged_.erase({batch.shape.rank, id});
  auto& staged = batch.worker->staged;
  staged -= std::min(staged, batch.predicted.value_or(microseconds::zero()));
}

void scheduler_state::note_queue(model& model) {
  if (model.queue.empty())
    awaited_.erase(model.number);
  else if (awaited_.try_emplace(model.number, &model).second)
    model.awaited_since = now_;
  if (model.queue.holds())
    holding_.try_emplace(model.number, &model);
  else
    holding_.erase(model.number);
}

void scheduler_state::send_members(batch_id id, running_batch& batch, offer_id offer, std::vector<waiting> members,
                                   time_point now) {
  protocol::batch message{id, offer, {}, batch.predicted.value_or(microseconds::zero()), {}};
  if (const auto& queue = models_.at(batch.model).queue; !queue.empty()) message.more = queue.front().request.priority;
  for (auto& member : members) {
    --queued_;
    requests_.at(member.key) = {nullptr, {}, id};
    rows_total_.Increment(static_cast<double>(member.profile.rows));
    queue_seconds_.Observe(std::chrono::duration<double>(now - member.arrived).count());
    auto request = member.request;
    request.time_left = since(now, member.deadline);
    message.members.push_back({member.key, std::move(request), since(member.arrived, now)});
    batch.members.push_back(std::move(member));
  }
  const auto sent = link_.send(batch.worker->peer, std::move(message));
  // A worker that is gone is about to be reported as lost, and its batches with it.
  if (!sent && sent.error().code != errc::unavailable) take_back(id, batch, offer, members.size(), sent.error(), now);
}

/// The link would not carry the last `count` members of a batch to a worker that is well. Nobody else would end them,
/// or give the worker's place back.
void scheduler_state::take_back(batch_id id, running_batch& batch, offer_id offer, std::size_t count,
                                const error& reason, time_point now) {
  spdlog::warn("{} request(s) for model '{}' version {} could not be handed to a worker: {}", count, batch.model.first,
               batch.model.second, reason.message);
  auto& worker = *batch.worker;
  if (reason.retryable) {  // too much waits to be written to it
    worker.is_full = true;
    write_again_ = now + write_pause;
  }
  for (; count > 0; --count) {
    auto member = std::move(batch.members.back());
    batch.members.pop_back();
    if (!release(member.key, id)) continue;
    if (reason.retryable)
      requeue(std::move(member), false, now);
    else if (const auto gateway = gateway_of(member.key.gateway); gateway != 0)
      refuse(gateway, member.request, reason);
  }
  batch.shape.closed = true;
  if (offer == 0) return workers_.update(worker);
  worker.forget(id);
  if (!batch.started) is_staged_no_more(id, batch);
  worker.offers.push_back(offer);
  workers_.update(worker);
  batches_.erase(id);
}

}  // namespace shoal::scheduler
