// The part of the scheduler's mind that hears workers (scheduler_state.hpp): what they serve, which places they lease
// to it, which batches are over.
#include <algorithm>
#include <functional>
#include <utility>

#include <spdlog/spdlog.h>

#include "scheduler/scheduler_state.hpp"

namespace shoal::scheduler {

using namespace protocol;

namespace {

constexpr std::size_t most_offers = 64;  ///< that a worker may have out; it makes two

}  // namespace

void scheduler_state::on_message(peer_id from, catalogue& models, time_point now) {
  auto* worker = workers_.find(from);
  if (worker == nullptr) return unexpected_.Increment();
  worker->models.clear();
  const auto listed_before = std::exchange(worker->listed, {});
  for (auto& spec : models.models) {
    const model_key key{spec.name, spec.version};
    worker->listed.insert(key);
    orphans_.erase(key);
    if (spec.state == model_state::ready) worker->models.insert(key);
    const auto entry = models_.try_emplace(key).first;
    auto& model = entry->second;
    if (model.number == 0) model.key = &entry->first, model.number = next_number_++;
    auto& known = model.spec;
    // One worker that serves the model outweighs others that load it or fail to.
    const auto& all = workers_.all();
    const bool served = std::any_of(all.begin(), all.end(), [&](const auto& entry) {
      return entry.first != from && entry.second.models.contains(key);
    });
    if (!served && spec.state == model_state::loading && !known.outputs.empty())
      known.state = model_state::loading, known.reason.clear();  // its shapes are known: requests are checked and wait
    else if (spec.state == model_state::ready || !served)
      known = std::move(spec);
  }
  place_worker(*worker, now);
  // What a worker that is well does not list any more was unloaded; a worker that is lost is expected back.
  std::vector<waiting> left;
  for (const auto& key : listed_before)
    if (!is_listed(key))
      for (auto& request : forget_model(key)) left.push_back(std::move(request));
  publish_models();
  refuse_unloaded(std::move(left));
  serve_each(holding_, now);
  while (give_work(*worker, now)) {
  }
}

void scheduler_state::place_worker(worker& worker, time_point now) {
  std::vector<std::pair<pool*, latency_profile*>> pools;
  for (const auto& key : worker.models)
    pools.emplace_back(&models_.at(key).workers, &book_.of(key.first, key.second, worker.device));
  workers_.place(worker, pools, now);
}

void scheduler_state::on_message(peer_id from, report& report, time_point) {
  if (const auto cache = tellers_.find(from); cache != tellers_.end()) {
    cache->second = std::move(report);
    return;
  }
  if (gateways_.contains(from)) {
    gateway_reports_[from] = std::move(report);
    return;
  }
  auto* worker = workers_.find(from);
  if (worker == nullptr) return unexpected_.Increment();
  worker->report = std::move(report);
}

void scheduler_state::on_message(peer_id from, const offer& offer, time_point now) {
  auto* worker = workers_.find(from);
  if (worker == nullptr) return unexpected_.Increment();
  worker->hear_of_others(offer.busy, now);
  if (std::find(worker->offers.begin(), worker->offers.end(), offer.id) == worker->offers.end()) {
    if (worker->offers.size() >= most_offers) return unexpected_.Increment();
    worker->offers.push_back(offer.id);
    worker->asked = 0;
  }
  workers_.update(*worker);
  if (give_work(*worker, now)) return;
  // What it was asked for has to wait there: another may be free sooner.
  for (const auto& key : worker->models)
    if (auto& model = models_.at(key); !model.queue.empty()) ask_for_place(model);
}

void scheduler_state::on_message(peer_id from, const withdraw& withdraw, time_point) {
  auto* worker = workers_.find(from);
  if (worker == nullptr) return unexpected_.Increment();
  // A batch that went against it comes back with its completion.
  auto& offers = worker->offers;
  offers.erase(std::remove(offers.begin(), offers.end(), withdraw.offer), offers.end());
  workers_.update(*worker);
}

void scheduler_state::on_message(peer_id from, const started& started, time_point now) {
  auto* worker = workers_.find(from);
  if (worker == nullptr) return unexpected_.Increment();
  start_staged(started.batch, *worker, now);
  workers_.update(*worker);
}

void scheduler_state::on_message(peer_id from, const completion& completion, time_point now) {
  auto* worker = workers_.find(from);
  const auto found = batches_.find(completion.batch);
  if (worker == nullptr) return unexpected_.Increment();
  worker->is_full = false;
  if (found == batches_.end() || found->second.worker != worker) return;  // over already: its members are queued again
  auto& batch = found->second;
  const auto model = models_.find(batch.model);
  std::int64_t longest = 0;
  for (const auto& key : completion.finished) {
    if (release(key, completion.batch)) settle(key);
    const auto member =
        std::find_if(batch.members.begin(), batch.members.end(), [&](const waiting& each) { return each.key == key; });
    if (member == batch.members.end()) continue;
    if (model != models_.end() && completion.rows != 0) note_end(model->second, *member, now);
    longest = std::max(longest, member->profile.length);
    batch.members.erase(member);
  }
  // A batch that was closed to some is closed to all: another worker, or its end, is what they wait for.
  if (!completion.returned.empty()) batch.shape.closed = true;
  // What the worker returns came too late for the batch; what it does not mention when the batch is over is on its way
  // back. Either is queued again, in front and in order; a batch that had to make way for others goes where it was.
  const bool in_front = !(completion.batch_over && completion.rows == 0 && !completion.returned.empty());
  const auto comes_back = [&](const waiting& member) {
    return completion.batch_over ||
           std::find(completion.returned.begin(), completion.returned.end(), member.key) != completion.returned.end();
  };
  const auto back = std::stable_partition(batch.members.begin(), batch.members.end(), std::not_fn(comes_back));
  const bool any_back = back != batch.members.end();
  for (auto member = batch.members.end(); member != back;) {
    --member;
    if (release(member->key, completion.batch)) requeue(std::move(*member), in_front, now);
  }
  batch.members.erase(back, batch.members.end());
  const auto key = batch.model;
  if (completion.batch_over) {
    if (!batch.started) is_staged_no_more(completion.batch, batch);
    note_share(batch, *worker, completion, now);
    learn(batch, *worker, completion, {completion.rows, longest}, now);
    worker->forget(completion.batch);
    batches_.erase(found);
    if (!worker->batches.empty()) start_staged(worker->batches.front(), *worker, now);
    worker->hear_of_others(completion.busy, now);
  }
  if (completion.offer != 0 && worker->offers.size() < most_offers) {
    worker->offers.push_back(completion.offer);
    worker->asked = 0;
  }
  workers_.update(*worker);
  if (completion.offer != 0) give_work(*worker, now);
  if (any_back) serve(key, now);
  if (completion.batch_over) serve_each(holding_, now);  // it may have been a suspect's, and another has its turn
}

void scheduler_state::publish_models() {
  for (auto& [key, model] : models_) {
    const bool served = std::any_of(workers_.all().begin(), workers_.all().end(),
                                    [&key = key](const auto& entry) { return entry.second.models.contains(key); });
    if (!served && model.spec.state == model_state::ready) {
      model.spec.state = model_state::loading;
      model.spec.reason = "no worker serves it at present";
    }
  }
  catalogue all;
  for (const auto& [key, model] : models_) all.models.push_back(model.spec);
  for (const auto& [peer, instance] : gateways_)
    if (const auto sent = link_.send(peer, all); !sent && sent.error().code != errc::unavailable)
      spdlog::error("the models cannot be told to a gateway, which refuses requests for them: {}",
                    sent.error().message);
}

}  // namespace shoal::scheduler
