// The part of the scheduler's mind that forgets models and passes orders to load and unload on (scheduler_state.hpp).
#include <algorithm>

#include "scheduler/scheduler_state.hpp"

namespace shoal::scheduler {

using namespace protocol;

bool scheduler_state::is_listed(const model_key& key) const {
  return std::any_of(workers_.all().begin(), workers_.all().end(),
                     [&](const auto& entry) { return entry.second.listed.contains(key); });
}

/// What runs is finished by its worker.
std::vector<waiting> scheduler_state::forget_model(const model_key& key) {
  orphans_.erase(key);
  std::vector<waiting> left;
  const auto found = models_.find(key);
  if (found == models_.end()) return left;
  awaited_.erase(found->second.number);
  holding_.erase(found->second.number);
  auto unloaded = models_.extract(found);
  if (auto* shown = unloaded.mapped().queued) figures_.remove(model_queued_name, model_queued_help, *shown);
  auto& queue = unloaded.mapped().queue;
  queue.let_go({}, model_queue::all);
  while (!queue.empty()) {
    left.push_back(queue.take(queue.next()));
    requests_.erase(left.back().key);
    --queued_;
  }
  return left;
}

void scheduler_state::refuse_unloaded(std::vector<waiting> left) {
  for (const auto& each : left)
    if (const auto gateway = gateway_of(each.key.gateway); gateway != 0)
      refuse(gateway, each.request,
             {errc::not_found, "model '" + each.request.model + "' version " + std::to_string(each.request.version) +
                                   " was unloaded while the request waited"});
}

void scheduler_state::on_message(peer_id from, const manage& request, time_point now) {
  const auto gateway = gateways_.find(from);
  if (gateway == gateways_.end()) return unexpected_.Increment();
  if (calls_.is_full()) {
    static_cast<void>(link_.send(
        from, managed{request.key, fail(errc::overloaded, "too many loads and unloads are under way: try again")}));
    return;
  }
  auto onward = request;
  onward.key.gateway = gateway->second;  // its own requests only, whatever the message names
  std::map<peer_id, instance_id> asked;
  for (const auto& [peer, worker] : workers_.all())
    if (link_.send(peer, onward)) asked.emplace(peer, worker.instance);  // one that is gone has nothing to load
  calls_.open(onward.key, from, request.key, std::move(asked), now + request.time_left);
}

void scheduler_state::on_message(peer_id from, managed& answer, time_point) {
  if (workers_.find(from) == nullptr) return unexpected_.Increment();
  calls_.answer(from, std::move(answer));
}

}  // namespace shoal::scheduler
