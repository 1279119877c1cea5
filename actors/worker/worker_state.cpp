#include "worker/worker_state.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>

namespace shoal::worker {

using namespace protocol;

namespace {

/// Changes of what a lease's holder was told that are not worth a message.
constexpr microseconds small_change{1000};
/// A batch that has waited for so long, with its scheduler's queue, makes way for nobody.
constexpr microseconds patience{1'000'000};

/// Whether fetched tensors are those whose descriptors passed the gateway's checks.
bool is_payload_of(const infer& request, const std::vector<tensor>& inputs) {
  return std::equal(inputs.begin(), inputs.end(), request.inputs.begin(), request.inputs.end(),
                    [](const tensor& came, const tensor& promised) {
                      return came.name == promised.name && came.type == promised.type && came.dims == promised.dims;
                    });
}

/// Until a payload is asked for again that its gateway could not send.
constexpr milliseconds payload_pause{50};

}  // namespace

worker_state::worker_state(worker_options options, protocol::link& link, compute_port compute, metrics& figures)
    : options_(options),
      link_(link),
      compute_(std::move(compute)),
      figures_(figures),
      plans_(link, compute_.replan, figures),
      batches_total_(figures.counter("shoal_worker_batches_total", "Batches executed")),
      rows_total_(figures.counter("shoal_worker_rows_total", "Rows of these batches")),
      failed_(figures.counter("shoal_worker_failed_total", "Requests whose execution failed")),
      dropped_(figures.counter("shoal_worker_dropped_total",
                               "Requests dropped before execution: late, cancelled, or "
                               "their gateway gone")),
      returned_(
          figures.counter("shoal_worker_returned_total", "Requests that came too late for a batch and went back")),
      withdrawn_(figures.counter("shoal_worker_withdrawn_total",
                                 "Places taken from a scheduler that had no use for them, for another")),
      unexpected_(figures.counter("shoal_worker_unexpected_messages_total", "Messages dropped: wrong sender or kind")),
      models_ready_(figures.gauge("shoal_worker_models_ready", "Model versions that can be served")),
      compute_seconds_(figures.seconds("shoal_worker_batch_seconds", "Execution of a batch")) {}

// --- models: life.cpp
// -------------------------------------------------------------------------------------------------

/// Ready: this worker can be given work.
void worker_state::publish_health() {
  if (!options_.ready) return;
  *options_.ready = !draining_ && !places_.empty() && models_ready_.Value() > 0;
}

void worker_state::start_draining() {
  draining_ = true;
  places_.close();
  publish_health();
  announce_to_all();
}

// --- peers ----------------------------------------------------------------------------------------------------------

void worker_state::on(link_event& event, time_point now) {
  if (plans_.on(event)) return;
  if (auto* up = std::get_if<peer_up>(&event)) return on_peer(*up, now);
  if (auto* down = std::get_if<peer_down>(&event)) return on_peer(*down, now);
  auto& delivered = std::get<delivery>(event);
  std::visit([&](auto& body) { on_message(delivered.from, body, now); }, delivered.body);
  release_drained();
}

void worker_state::on_peer(const peer_up& up, time_point now) {
  if (up.service == service_kind::scheduler) {
    places_.join(up.peer, up.version >= 3, now);
    announce(up.peer);
    publish_health();
    lease_places(now);
  } else if (up.service == service_kind::gateway) {
    gateways_[up.peer] = up.instance;
    for (auto& batch : batches_) ask_for_payloads(batch);
    start_and_tell(now);
  }
}

void worker_state::on_peer(const peer_down& down, time_point now) {
  if (const auto gateway = gateways_.find(down.peer); gateway != gateways_.end()) {
    const auto instance = gateway->second;
    gateways_.erase(gateway);
    // What runs is answered if the gateway is back by then. The gateway may miss this connection alone: what is staged
    // goes back, and payloads that were to come by it are asked for again where there is another one.
    for (auto& batch : batches_) {
      if (batch.running) continue;
      for (auto& member : batch.members)
        if (member.key.gateway == instance) member.is_asked_for = false;
      return_cut_off(batch, now);
      ask_for_payloads(batch);
    }
  }
  if (places_.knows(down.peer)) {
    places_.leave(down.peer);
    publish_health();
    // The gateways hand its requests to another scheduler; what runs is finished, and the first outcome counts.
    std::erase_if(batches_, [&](const staged& batch) {
      const bool ends = batch.scheduler == down.peer && !batch.running;
      if (ends) places_.vacate(down.peer);
      return ends;
    });
    lease_places(now);
  }
  start_and_tell(now);
}

peer_id worker_state::gateway_of(instance_id instance) const {
  // The newest connection: an older one of the same gateway is about to be reported as lost.
  for (auto at = gateways_.rbegin(); at != gateways_.rend(); ++at)
    if (at->second == instance) return at->first;
  return 0;
}

// --- batches --------------------------------------------------------------------------------------------------------

void worker_state::on_message(peer_id from, protocol::batch& batch, time_point now) {
  if (!places_.knows(from)) return unexpected_.Increment();
  if (batch.more) places_.want(from, *batch.more, now);
  const auto known = std::find_if(batches_.begin(), batches_.end(),
                                  [&](const staged& b) { return b.id == batch.id && b.scheduler == from; });
  if (batch.offer == 0 && (known == batches_.end() || known->running)) {
    return_all(from, batch, false);
    return;
  }
  if (known != batches_.end()) {
    known->takes = batch.takes;
    add_members(*known, std::move(batch.members), now);
  } else {
    const auto place = places_.occupy(from, batch.offer);
    if (!place) {
      if (!places_.was_leased(batch.offer)) return unexpected_.Increment();
      // The place was withdrawn meanwhile.
      places_.miss(batch.offer, now);
      for (const auto& member : batch.members) places_.want(from, member.request.priority, now);
      return_all(from, batch, true);
      return lease_places(now);
    }
    if (!batch.members.empty() &&
        leaving_.contains({batch.members.front().request.model, batch.members.front().request.version})) {
      // It was on its way when the scheduler was told that the model is unloaded here.
      staged unwanted;
      unwanted.id = batch.id;
      unwanted.scheduler = from;
      add_members(unwanted, std::move(batch.members), now);
      return give_back(unwanted, now);
    }
    auto& fresh = batches_.emplace_back();
    fresh.id = batch.id;
    fresh.scheduler = from;
    fresh.since = now;
    fresh.takes = batch.takes;
    fresh.waited = batches_.front().running || place->busy_until > now;
    add_members(fresh, std::move(batch.members), now);
  }
  start_and_tell(now);
  lease_places(now);
}

void worker_state::on_message(peer_id from, const recall& recall, time_point now) {
  if (!places_.knows(from)) return unexpected_.Increment();
  const auto found = std::find_if(batches_.begin(), batches_.end(),
                                  [&](const staged& b) { return b.id == recall.batch && b.scheduler == from; });
  if (found == batches_.end() || found->running) return;  // it has started, or is over: its completion says so
  places_.want(from, priority::critical, now);
  auto back = std::move(*found);
  batches_.erase(found);
  give_back(back, now);
  start_and_tell(now);
}

void worker_state::on_message(peer_id from, const want& want, time_point now) {
  if (!places_.knows(from)) return unexpected_.Increment();
  places_.want(from, want.most_urgent, now);
  lease_places(now);
}

/// Says that these come back; `over`: the whole batch.
template <class Members>
completion worker_state::returning(batch_id id, const Members& members, bool over) {
  completion back{id, {}, {}, {}, 0, over, 0};
  for (const auto& member : members) back.returned.push_back(member.key);
  returned_.Increment(static_cast<double>(back.returned.size()));
  return back;
}

void worker_state::give_back(staged& batch, time_point now) {
  complete(batch, returning(batch.id, batch.members, true), now);
}

/// A batch, or members of one, that was never taken.
void worker_state::return_all(peer_id from, const protocol::batch& batch, bool over) {
  static_cast<void>(
      link_.send(from, returning(batch.id, batch.members, over)));  // if it is gone, its peer_down follows
}

void worker_state::add_members(staged& batch, std::vector<batch_member> members, time_point now) {
  for (auto& incoming : members) {
    member added;
    added.key = incoming.key;
    added.deadline = now + incoming.request.time_left;
    added.queue_time = incoming.queue_time;
    added.ready = now;
    added.has_payload = !incoming.request.payload_held;
    added.request = std::move(incoming.request);
    batch.members.push_back(std::move(added));
  }
  ask_for_payloads(batch);
}

void worker_state::ask_for_payloads(staged& batch) {
  for (auto& member : batch.members) {
    if (member.has_payload || member.is_asked_for || member.is_over) continue;
    const auto gateway = gateway_of(member.key.gateway);
    member.is_asked_for = gateway != 0 && link_.send(gateway, fetch{member.request.id, member.request.attempt});
  }
}

void worker_state::on_message(peer_id from, payload& payload, time_point now) {
  const auto gateway = gateways_.find(from);
  if (gateway == gateways_.end()) return unexpected_.Increment();
  const request_key key{gateway->second, payload.id};
  for (auto& batch : batches_) {
    if (batch.running) continue;
    for (auto& member : batch.members) {
      if (member.key != key || member.has_payload) continue;
      if (!payload.inputs && payload.inputs.error().retryable) {  // too much is on its way here
        member.is_asked_for = false;
        ask_again_ = now + payload_pause;
        continue;
      }
      if (!payload.inputs) {
        member.is_over = true;
        continue;
      }
      if (!is_payload_of(member.request, *payload.inputs)) {
        unexpected_.Increment();
        member.is_over = true;  // its deadline tells the client; what does not match must not reach the graph
        continue;
      }
      member.request.inputs = payload.inputs.value();
      member.has_payload = true;
      member.ready = now;
    }
  }
  start_and_tell(now);
}

void worker_state::on_message(peer_id from, const cancel& cancel, time_point now) {
  if (!places_.knows(from)) return unexpected_.Increment();
  // Another scheduler may have been given the request in the place of the one that takes it back. What runs is
  // answered: that may be sooner than the other one can, and if nobody waits, the answer is dropped there.
  for (auto& batch : batches_)
    for (auto& member : batch.members)
      if (member.key == cancel.key && batch.scheduler == from && !batch.running) member.is_over = true;
  start_and_tell(now);
}

/// Starts the first batch whose payloads are all here, unless one runs. Members that are over leave it.
worker_state::begun worker_state::start_next(time_point now) {
  // Also while another batch runs: a deadline that has been seen asks for no further wake.
  for (auto& batch : batches_)
    for (auto& member : batch.members) member.is_over = member.is_over || (!batch.running && member.deadline <= now);
  if (is_running()) return {};
  for (auto batch = batches_.begin(); batch != batches_.end(); ++batch) {
    const bool ready = std::all_of(batch->members.begin(), batch->members.end(), [&](const member& m) {
      return m.is_over || (m.has_payload && gateway_of(m.key.gateway) != 0);
    });
    if (!ready) continue;
    completion dropped{batch->id, {}, {}, {}, 0, false, 0};
    std::erase_if(batch->members, [&](const member& m) {
      if (m.is_over) dropped.finished.push_back(m.key);
      return m.is_over;
    });
    dropped_.Increment(static_cast<double>(dropped.finished.size()));
    if (batch->members.empty()) {
      auto over = std::move(*batch);
      batches_.erase(batch);
      dropped.batch_over = true;
      complete(over, std::move(dropped), now);
      return start_next(now);
    }
    if (!dropped.finished.empty()) complete(*batch, std::move(dropped), now);
    batch->running = true;
    batch->since = now;
    compute job{batch->id, batch->members.front().request.model, batch->members.front().request.version, {}};
    job.is_sample =
        plans_.wants_sample({job.model, job.version}, now) &&
        std::none_of(batch->members.begin(), batch->members.end(), [](const member& m) { return m.request.is_probe; });
    for (auto& member : batch->members) {
      member.queue_time += std::chrono::duration_cast<microseconds>(now - member.ready);
      job.members.push_back({member.key, std::move(member.request.inputs), member.request.outputs});
    }
    if (job.is_sample) batch->alone = job.members.front().inputs;
    const begun told{batch->waited ? batch->scheduler : 0, batch->id};
    if (batch != batches_.begin()) std::rotate(batches_.begin(), batch, batch + 1);
    compute_.run(std::move(job));
    return told;
  }
  return {};
}

void worker_state::start_and_tell(time_point now) {
  const auto next = start_next(now);
  if (places_.asks(next.scheduler)) static_cast<void>(link_.send(next.scheduler, started{next.batch}));
}

void worker_state::on(computed& computed, time_point now) {
  if (!is_running() || batches_.front().id != computed.batch) return unexpected_.Increment();
  auto done = std::move(batches_.front());
  batches_.pop_front();
  batches_total_.Increment();
  rows_total_.Increment(computed.rows);
  compute_seconds_.Observe(std::chrono::duration<double>(computed.compute_time).count());
  const auto model = done.members.empty() ? plan_follower::model_key()
                                          : plan_follower::model_key(done.members.front().request.model,
                                                                     done.members.front().request.version);
  // The next batch is on its way to the compute thread before this one's outcomes are written.
  const auto next = start_next(now);
  completion completion{done.id, {}, {}, computed.compute_time, computed.rows, true, 0};
  completion.apart = computed.apart;
  if (next.scheduler != done.scheduler && places_.asks(next.scheduler))  // or the completion says so
    static_cast<void>(link_.send(next.scheduler, started{next.batch}));
  for (std::size_t m = 0; m < done.members.size(); ++m) {
    const auto& member = done.members[m];
    if (!computed.results[m]) failed_.Increment();
    const auto gateway = gateway_of(member.key.gateway);
    // An outcome that cannot be told is none: what the completion does not mention is queued again, and whoever runs it
    // then may have a way to its gateway.
    if (gateway == 0) continue;
    completion.finished.push_back(member.key);
    if (!computed.results[m] && computed.results[m].error().code == errc::internal) ++completion.failed;
    const auto answer_with = [&](expected<std::vector<tensor>> result) {
      outcome answer;
      answer.id = member.request.id;
      answer.attempt = member.request.attempt;
      answer.result = std::move(result);
      answer.model = member.request.model;
      answer.version = member.request.version;
      answer.queue_time = member.queue_time;
      answer.compute_time = computed.compute_time;
      answer.batch_rows = computed.rows;
      answer.input_time = computed.input_time;
      answer.output_time = computed.output_time;
      answer.plan = computed.plan;
      return link_.send(gateway, std::move(answer));
    };
    if (auto sent = answer_with(std::move(computed.results[m])); !sent && sent.error().code != errc::unavailable)
      static_cast<void>(answer_with(tl::unexpected(sent.error())));
  }
  complete(done, std::move(completion), now);
  if (!computed.sample.empty()) plans_.give_sample(model, std::move(computed.sample), now, std::move(done.alone));
  release_drained();
  if (!report_at_) report_at_ = now + options_.report_interval;
}

// --- places ---------------------------------------------------------------------------------------------------------

/// Tells the scheduler; if the place that became free is its again, with the same message.
void worker_state::complete(staged& batch, completion completion, time_point now) {
  places::changes made;
  if (completion.batch_over) {
    places_.vacate(batch.scheduler);
    made = places_.settle(now);
  }
  if (places_.knows(batch.scheduler)) {
    const auto own = std::find_if(made.granted.begin(), made.granted.end(),
                                  [&](const auto& lease) { return lease.scheduler == batch.scheduler; });
    if (own != made.granted.end()) {
      completion.offer = own->id;
      made.granted.erase(own);
    }
    completion.busy = busy_for(batch.scheduler, now);
    for (auto& lease : places_.leases())
      if (lease.holder == batch.scheduler) lease.busy_until = now + completion.busy;
    static_cast<void>(link_.send(batch.scheduler, std::move(completion)));  // if it is gone, its peer_down follows
  }
  tell(made, now);
}

void worker_state::lease_places(time_point now) {
  tell(places_.settle(now), now);
  make_way(now);
}

void worker_state::tell(const places::changes& made, time_point now) {
  for (const auto& lease : made.withdrawn) {
    withdrawn_.Increment();
    static_cast<void>(link_.send(lease.scheduler, withdraw{lease.id}));
  }
  for (auto& lease : places_.leases()) {
    const auto busy = busy_for(lease.holder, now);
    const bool is_new = std::any_of(made.granted.begin(), made.granted.end(),
                                    [&](const auto& granted) { return granted.id == lease.id; });
    const auto told = std::max(lease.busy_until - now, steady::duration::zero());
    if (!is_new && (!places_.asks(lease.holder) || std::chrono::abs(busy - told) < small_change)) continue;
    lease.busy_until = now + busy;
    static_cast<void>(link_.send(lease.holder, offer{lease.id, busy}));
  }
}

/// A critical request that another scheduler has no place for gets that of the staged batch.
void worker_state::make_way(time_point now) {
  const auto urgent = places_.critical_one();
  if (!urgent) return;
  const auto stays = [&](const member& each) {
    return each.request.priority == priority::critical || each.queue_time >= patience;
  };
  const auto found = std::find_if(batches_.begin(), batches_.end(), [&](const staged& batch) {
    return !batch.running && batch.scheduler != *urgent && places_.asks(batch.scheduler) &&
           std::none_of(batch.members.begin(), batch.members.end(), stays);
  });
  if (found == batches_.end()) return;
  auto back = std::move(*found);
  batches_.erase(found);
  give_back(back, now);
}

microseconds worker_state::busy_for(peer_id scheduler, time_point now) const {
  microseconds busy{};
  for (const auto& batch : batches_) {
    if (batch.scheduler == scheduler) continue;
    const auto gone =
        batch.running ? std::chrono::duration_cast<microseconds>(now - batch.since) : microseconds::zero();
    busy += std::max(batch.takes - gone, microseconds(1));
  }
  return busy;
}

// --- time -----------------------------------------------------------------------------------------------------------

/// A batch whose gateway is not connected (yet) is returned rather than kept in the way of others.
void worker_state::give_up_waiting(time_point now) {
  for (auto& batch : batches_)
    if (!batch.running && now >= batch.since + options_.gateway_patience) return_cut_off(batch, now);
}

void worker_state::return_cut_off(staged& batch, time_point now) {
  completion back{batch.id, {}, {}, {}, 0, false, 0};
  std::erase_if(batch.members, [&](const member& m) {
    const bool cut_off = !m.is_over && gateway_of(m.key.gateway) == 0;
    if (cut_off) back.returned.push_back(m.key);
    return cut_off;
  });
  if (back.returned.empty()) return;
  returned_.Increment(static_cast<double>(back.returned.size()));
  complete(batch, std::move(back), now);
}

void worker_state::on_wake(time_point now) {
  give_up_waiting(now);
  if (ask_again_ && *ask_again_ <= now) {
    ask_again_.reset();
    for (auto& batch : batches_) ask_for_payloads(batch);
  }
  start_and_tell(now);
  lease_places(now);
  release_drained();
  if (report_at_ && now >= *report_at_) {
    report_at_.reset();
    send_report();
  }
}

void worker_state::send_report() {
  service_report own{"worker", options_.instance, {}, {}, {}};
  for (auto& [name, value] : figures_.snapshot()) own.figures.push_back({name, value});
  places_.each_scheduler([&](peer_id peer) { static_cast<void>(link_.send(peer, report{{own}})); });
}

std::optional<time_point> worker_state::next_wake() const {
  auto next = report_at_;
  const auto sooner = [&](time_point when) { next = next ? std::min(*next, when) : when; };
  if (const auto due = places_.next_change()) sooner(*due);
  if (ask_again_) sooner(*ask_again_);
  for (const auto& batch : batches_) {
    if (batch.running) continue;
    bool waits = false;
    for (const auto& member : batch.members) {
      if (member.is_over) continue;
      sooner(member.deadline);
      waits = waits || gateway_of(member.key.gateway) == 0;
    }
    if (waits) sooner(batch.since + options_.gateway_patience);
  }
  return next;
}

}  // namespace shoal::worker
