// The part of the scheduler's mind that deals with what a lost worker had (scheduler_state.hpp).
//
// Requests that were running are suspects: one of them may have ended the worker, and would end the next one. They run
// alone from now on, and so that they do not take all workers with them, no more of them at a time than leave one
// worker to everybody else. While there is one worker, and others are expected back, suspects are held; for at most as
// long as lost workers take to come back, and half of the time that the suspect has. Where one worker is all, it is
// tried.
#include <algorithm>

#include <spdlog/spdlog.h>

#include "scheduler/scheduler_state.hpp"

namespace shoal::scheduler {

using namespace protocol;

namespace {

constexpr std::uint32_t deaths_of_poison = 2;

}  // namespace

/// A worker has gone with its batches: what was staged waits as before.
void scheduler_state::lose(const peer_down& down, worker worker, time_point now) {
  workers_lost_.Increment();
  std::vector<model_key> affected;
  // Backwards, since each goes to the front of its queue: the running batch ends up first, its members in order.
  for (auto id = worker.batches.rbegin(); id != worker.batches.rend(); ++id) {
    auto node = batches_.extract(*id);
    if (node.empty()) continue;
    auto& batch = node.mapped();
    spdlog::warn("worker {:x} (peer {}) is gone with a batch of {} request(s) that was {}", worker.instance, down.peer,
                 batch.members.size(), batch.started ? "running" : "staged");
    // A worker that said goodbye left in order: nothing it ran can be to blame.
    const bool died_running = batch.started && down.reason.code != errc::cancelled;
    const bool was_alone = batch.members.size() == 1;
    if (!batch.started) staged_.erase({batch.shape.rank, *id});
    for (auto member = batch.members.rbegin(); member != batch.members.rend(); ++member) {
      if (!release(member->key, *id)) continue;
      if (died_running) {
        suspect(std::move(*member), was_alone, now);
        continue;
      }
      ++member->request.attempt;
      requeued_.Increment();
      requeue(std::move(*member), true, now);
    }
    affected.push_back(batch.model);
  }
  publish_models();
  for (const auto& key : affected) serve(key, now);
}

void scheduler_state::suspect(waiting request, bool was_alone, time_point now) {
  request.alone = true;
  request.predicted = {};  // that it has to wait says nothing about predictions
  if (was_alone) ++request.request.deaths;
  const auto give_up = [&](error reason) {
    if (const auto gateway = gateway_of(request.key.gateway); gateway != 0)
      refuse(gateway, request.request, std::move(reason));
  };
  if (!retries_.take(now)) {
    unretried_.Increment();
    return give_up({errc::unavailable,
                    "its worker was lost, and workers are lost faster than requests may be tried again: look at the "
                    "workers' logs"});
  }
  ++request.request.attempt;
  requeued_.Increment();
  if (request.request.deaths >= deaths_of_poison) {
    poisoned_.Increment();
    return give_up({errc::poisoned, "this request ended " + std::to_string(request.request.deaths) +
                                        " workers that ran it alone; it is not tried again"});
  }
  auto* model = may_wait_again(request, now);
  if (model == nullptr) return;
  auto until = now + (request.deadline - now) / 2;
  if (const auto back = model->workers.back_by()) until = std::min(until, *back);
  const auto id = request.key;
  requests_[id] = {model, model->queue.hold(std::move(request), until), 0};
  ++queued_;
  note_queue(*model);
}

void scheduler_state::let_suspects_go(model& model, time_point now) {
  if (!model.queue.holds()) return;
  const auto workers = model.workers.workers();
  const bool is_last = workers == 1 && model.workers.expected_back(now) == 0;
  const auto may_be_tried = is_last ? model_queue::all : workers - std::min<std::size_t>(workers, 1);
  // Whatever their models: these are the same workers, or some of them.
  auto tried = static_cast<std::size_t>(std::count_if(batches_.begin(), batches_.end(), [&](const auto& entry) {
    const auto& batch = entry.second;
    return !batch.members.empty() && batch.members.front().alone && model.workers.has(*batch.worker);
  }));
  for (const auto& [number, other] : awaited_) tried += other->queue.suspects();
  model.queue.let_go(now, may_be_tried - std::min(tried, may_be_tried));
  note_queue(model);
}

}  // namespace shoal::scheduler
