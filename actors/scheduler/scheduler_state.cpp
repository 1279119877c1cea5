#include "scheduler/scheduler_state.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include <spdlog/spdlog.h>

namespace shoal::scheduler {

using namespace protocol;

namespace {

constexpr microseconds longest_wait = std::chrono::hours(24 * 30);
constexpr milliseconds save_interval{30000};

std::string title(const std::pair<std::string, std::uint64_t>& key) {
  return "model '" + key.first + "' version " + std::to_string(key.second);
}

}  // namespace

scheduler_state::scheduler_state(scheduler_options options, protocol::link& link, metrics& figures,
                                 profile_store* profiles)
    : options_(options),
      link_(link),
      figures_(figures),
      calls_("worker",
             [this](peer_id gateway, managed answer) {
               const auto key = answer.key;
               if (const auto sent = link_.send(gateway, std::move(answer)); !sent)
                 static_cast<void>(link_.send(gateway, managed{key, tl::unexpected(sent.error())}));
             }),
      store_(profiles),
      // A batch that dies with its worker before others have earned its members' retries shall not be lost.
      retries_(0.25, 64, 4096),
      batches_total_(figures.counter("shoal_scheduler_batches_total", "Batches handed to workers")),
      rows_total_(figures.counter("shoal_scheduler_rows_total", "Rows of these batches")),
      refused_(figures.counter("shoal_scheduler_refused_total", "Requests refused because a queue was full")),
      predicted_late_(figures.counter("shoal_scheduler_predicted_late_total",
                                      "Requests refused because they would not have been done in time")),
      recalled_(figures.counter("shoal_scheduler_recalled_total",
                                "Staged batches asked back because a critical request could have their place")),
      ejections_(
          figures.counter("shoal_scheduler_ejections_total", "Workers given no work for a while: slow or failing")),
      unretried_(figures.counter("shoal_scheduler_unretried_total",
                                 "Requests refused after their worker was lost: the retry budget was spent")),
      expired_(figures.counter("shoal_scheduler_expired_total", "Requests whose deadline ran out while they waited")),
      requeued_(figures.counter("shoal_scheduler_requeued_total", "Requests queued again after a worker was lost")),
      poisoned_(figures.counter("shoal_scheduler_poisoned_total", "Requests refused because they end workers")),
      workers_lost_(figures.counter("shoal_scheduler_workers_lost_total", "Workers that went away")),
      unexpected_(
          figures.counter("shoal_scheduler_unexpected_messages_total", "Messages dropped: wrong sender or kind")),
      queued_gauge_(figures.gauge("shoal_scheduler_queued", "Requests that wait for a worker")),
      workers_gauge_(figures.gauge("shoal_scheduler_workers", "Workers connected")),
      queue_seconds_(figures.seconds("shoal_scheduler_queue_seconds", "From arrival to dispatch")) {
  if (store_ != nullptr) book_ = store_->load();
}

scheduler_state::~scheduler_state() { save_profiles(); }

void scheduler_state::on(link_event& event, time_point now) {
  now_ = now;
  if (auto* up = std::get_if<peer_up>(&event))
    on_peer(*up, now);
  else if (auto* down = std::get_if<peer_down>(&event))
    on_peer(*down, now);
  else {
    auto& delivered = std::get<delivery>(event);
    std::visit([&](auto& body) { on_message(delivered.from, body, now); }, delivered.body);
  }
  queued_gauge_.Set(static_cast<double>(queued_));
  if (!report_due_) next_report_ = now + options_.report_interval;
  report_due_ = true;
}

// --- peers ----------------------------------------------------------------------------------------------------------

void scheduler_state::on_peer(const peer_up& up, time_point) {
  if (up.service == service_kind::worker) {
    workers_.add(up);
    workers_gauge_.Set(static_cast<double>(workers_.size()));
  } else if (up.service == service_kind::cache || up.service == service_kind::precision) {
    tellers_[up.peer];
  } else if (up.service == service_kind::gateway) {
    gateways_[up.peer] = up.instance;
    catalogue known;
    for (const auto& [key, model] : models_) known.models.push_back(model.spec);
    static_cast<void>(link_.send(up.peer, std::move(known)));  // if the peer is gone already, its peer_down follows
  }
}

void scheduler_state::on_peer(const peer_down& down, time_point now) {
  tellers_.erase(down.peer);
  gateway_reports_.erase(down.peer);
  if (auto lost = workers_.remove(down.peer, now)) {
    workers_gauge_.Set(static_cast<double>(workers_.size()));
    for (const auto& key : lost->listed)
      if (!is_listed(key)) orphans_.emplace(key, now + options_.forget_after);
    calls_.lose(down.peer);
    lose(down, std::move(*lost), now);
  }
  const auto gateway = gateways_.find(down.peer);
  if (gateway == gateways_.end()) return;
  const auto instance = gateway->second;
  gateways_.erase(gateway);
  calls_.forget(down.peer);
  if (gateway_of(instance) != 0) return;  // the same gateway by a newer connection, through which it has asked again
  // What is dispatched is not answered by workers that lost the gateway too: if it comes back it asks again and is
  // queued again, and its first outcome counts.
  std::erase_if(requests_,
                [&](const auto& entry) { return entry.second.batch != 0 && entry.first.gateway == instance; });
  std::vector<request_key> orphans;
  for (const auto& [key, place] : requests_)
    if (key.gateway == instance) orphans.push_back(key);
  for (const auto& key : orphans) forget_queued(key, now);
}

void scheduler_state::requeue(waiting request, bool in_front, time_point now) {
  auto* model = may_wait_again(request, now);
  if (model == nullptr) return;
  const auto id = request.key;
  const auto at = in_front ? model->queue.push_front(std::move(request)) : model->queue.put_back(std::move(request));
  requests_[id] = {model, at, 0};
  ++queued_;
  note_queue(*model);
}

/// The model whose queue it may be in; null: it is over.
scheduler_state::model* scheduler_state::may_wait_again(const waiting& request, time_point now) {
  const auto gateway = gateway_of(request.key.gateway);
  if (gateway == 0) return nullptr;  // nobody waits for it
  const model_key key{request.request.model, request.request.version};
  if (request.deadline <= now) return settle(request.key), nullptr;  // its gateway's timer has told
  const auto model = models_.find(key);
  if (model != models_.end()) return &model->second;
  refuse(gateway, request.request, {errc::not_found, title(key) + " was unloaded while the request waited"});
  return nullptr;
}

// --- requests -------------------------------------------------------------------------------------------------------

void scheduler_state::refuse(peer_id gateway, const infer& request, error reason) {
  outcome refused;
  refused.id = request.id;
  refused.attempt = request.attempt;
  refused.model = request.model;
  refused.version = request.version;
  refused.result = tl::unexpected(std::move(reason));
  static_cast<void>(link_.send(gateway, std::move(refused)));  // a gateway that is gone has no use for it
}

void scheduler_state::on_message(peer_id from, infer& request, time_point now) {
  const auto gateway = gateways_.find(from);
  if (gateway == gateways_.end()) return unexpected_.Increment();
  const request_key id{gateway->second, request.id};
  if (const auto known = requests_.find(id); known != requests_.end()) {
    // The gateway asked again after a reconnection. What waits is refused, if it is, as this attempt.
    if (auto& place = known->second; place.batch == 0)
      place.at->request.attempt = std::max(place.at->request.attempt, request.attempt);
    return;
  }
  const model_key key{request.model, request.version};
  const auto found = models_.find(key);
  if (found == models_.end()) return refuse(from, request, {errc::not_found, "no worker has served " + title(key)});
  auto& model = found->second;
  if (model.queue.size() >= options_.max_queue) {
    refused_.Increment();
    return refuse(from, request, queue_is_full(key, model));
  }
  if (request.attempt > 0) close_batches_with(id);
  waiting entry;
  entry.key = id;
  entry.profile = profile_of(model.spec, request.inputs);
  entry.arrived = now;
  // What a gateway allows is less by far; more than a clock can add up shall not be added.
  entry.deadline = now + std::clamp<microseconds>(request.time_left, microseconds::zero(), longest_wait);
  entry.request = std::move(request);
  if (auto in_time = predict(key, model, entry, now); !in_time) {
    predicted_late_.Increment();
    return refuse(from, entry.request, std::move(in_time.error()));
  }
  retries_.earn();
  deadlines_.add(entry.deadline, id);
  requests_[id] = {&model, model.queue.push_back(std::move(entry)), 0};
  ++queued_;
  note_queue(model);
  deadlines_.prune(requests_.size(), [this](const request_key& known) { return requests_.contains(known); });
  serve(key, now);
}

bool scheduler_state::forget_queued(request_key key, time_point now) {
  const auto found = requests_.find(key);
  if (found == requests_.end() || found->second.batch != 0) return false;
  auto& model = *found->second.waits_for;
  const auto request = model.queue.take(found->second.at);
  note_queue(model);
  if (request.predicted <= now) {  // it was to be answered by now, and would still have taken:
    const auto left =
        std::chrono::duration<double>(model.workers.backlog(now)) / std::max(model.workers.capacity(now), 1.0);
    note_end(model, request, now + std::chrono::duration_cast<microseconds>(left) + model.batch_time);
  }
  requests_.erase(found);
  --queued_;
  settle(key);
  return true;
}

/// The request is over without an outcome of ours: its link credit goes back.
void scheduler_state::settle(request_key key) {
  if (const auto gateway = gateway_of(key.gateway); gateway != 0) link_.settle(gateway, key.id);
}

bool scheduler_state::release(const request_key& key, batch_id batch) {
  const auto found = requests_.find(key);
  if (found == requests_.end() || found->second.batch != batch) return false;
  requests_.erase(found);
  return true;
}

void scheduler_state::on_message(peer_id from, const cancel& cancel, time_point now) {
  const auto gateway = gateways_.find(from);
  if (gateway == gateways_.end()) return unexpected_.Increment();
  const request_key key{gateway->second, cancel.key.id};   // its own requests only, whatever the message names
  if (forget_queued(key, now)) serve_each(holding_, now);  // it may have been one, and another has its turn
  const auto found = requests_.find(key);
  if (found == requests_.end()) return;
  if (const auto batch = batches_.find(found->second.batch); batch != batches_.end())
    static_cast<void>(link_.send(batch->second.worker->peer, protocol::cancel{key}));
  requests_.erase(found);
  settle(key);
}

/// A request that was taken back, and is given again, must not join what it was in: what the worker says of either
/// would be taken for both.
void scheduler_state::close_batches_with(const request_key& key) {
  for (const auto& [rank, id] : staged_) {
    auto& batch = batches_.at(id);
    batch.shape.closed = batch.shape.closed || std::any_of(batch.members.begin(), batch.members.end(),
                                                           [&](const waiting& each) { return each.key == key; });
  }
}

void scheduler_state::on_wake(time_point now) {
  now_ = now;
  while (const auto key = deadlines_.pop_due(now)) {
    if (forget_queued(*key, now)) expired_.Increment();
  }
  for (const auto peer : workers_.readmit(now)) {
    auto& worker = *workers_.find(peer);
    spdlog::info("worker {:x} is tried again", worker.instance);
    give_work(worker, now);
  }
  if (write_again_ && *write_again_ <= now) {
    write_again_.reset();
    workers_.write_again();
  }
  serve_each(awaited_, now);
  serve_each(holding_, now);
  calls_.expire(now);
  std::vector<waiting> left;
  bool forgotten = false;
  while (true) {
    const auto due = std::find_if(orphans_.begin(), orphans_.end(), [&](const auto& o) { return o.second <= now; });
    if (due == orphans_.end()) break;
    spdlog::info("{} is forgotten: no worker has listed it for a while", title(due->first));
    for (auto& request : forget_model(model_key(due->first))) left.push_back(std::move(request));
    forgotten = true;
  }
  if (forgotten) publish_models();
  refuse_unloaded(std::move(left));
  queued_gauge_.Set(static_cast<double>(queued_));
  if (book_.changed() && now >= next_save_) {
    next_save_ = now + save_interval;
    save_profiles();
  }
  if (!report_due_ || now < next_report_) return;
  report_due_ = false;
  workers_.mark_overdue(now);
  show_queues();
  report all;
  service_report own{"scheduler", options_.instance, {}, {}, {}};
  for (auto& [name, value] : figures_.snapshot()) own.figures.push_back({name, value});
  all.services.push_back(std::move(own));
  for (const auto& [peer, worker] : workers_.all())
    all.services.insert(all.services.end(), worker.report.services.begin(), worker.report.services.end());
  for (const auto* told : {&tellers_, &gateway_reports_})
    for (const auto& [peer, reported] : *told)
      all.services.insert(all.services.end(), reported.services.begin(), reported.services.end());
  for (const auto& [peer, instance] : gateways_) static_cast<void>(link_.send(peer, all));
}

void scheduler_state::show_queues() {
  constexpr std::size_t most_shown = 256;
  std::size_t shown = 0;
  for (auto& [key, model] : models_) {
    if (++shown > most_shown) break;
    if (model.queued == nullptr)
      model.queued = &figures_.gauge(model_queued_name, model_queued_help,
                                     {{"model", key.first}, {"version", std::to_string(key.second)}});
    model.queued->Set(static_cast<double>(model.queue.size() + model.queue.held()));
  }
}

std::optional<time_point> scheduler_state::next_wake() const {
  auto next = deadlines_.next();
  const auto sooner = [&](time_point when) { next = next ? std::min(*next, when) : when; };
  if (report_due_) sooner(next_report_);
  if (const auto due = calls_.next()) sooner(*due);
  for (const auto& [key, when] : orphans_) sooner(when);
  for (const auto& [number, awaited] : awaited_)
    if (const auto when = stage_at(*awaited)) sooner(*when);
  for (const auto& [number, holds] : holding_) sooner(holds->queue.held_until());
  if (const auto when = workers_.next_readmission()) sooner(*when);
  if (write_again_) sooner(*write_again_);
  if (book_.changed() && store_ != nullptr) sooner(next_save_);
  return next;
}

void scheduler_state::save_profiles() {
  if (!book_.changed()) return;
  book_.note_kept();
  book_.prune([this](const std::string& name, std::uint64_t version) { return models_.contains({name, version}); });
  if (store_ != nullptr) store_->save(book_);
}

}  // namespace shoal::scheduler
