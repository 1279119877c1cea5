#include "gateway/gateway_state.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "gateway/admission.hpp"
#include "gateway/probe.hpp"
#include "gateway/text/text_request.hpp"
#include "protocol/join.hpp"

namespace shoal::gateway {

using namespace protocol;

namespace {

/// Its scheduler may hold what it ran until another worker is there (scheduler/losses.cpp).
constexpr milliseconds while_one_returns{3000};

constexpr const char* requests_help = "Requests by their terminal outcome";

std::uint64_t payload_bytes(const infer& request) {
  std::uint64_t bytes = 0;
  for (const auto& input : request.inputs) bytes += input.data.size();
  return bytes;
}

outcome failure(error reason) {
  outcome failed;
  failed.result = tl::unexpected(std::move(reason));
  return failed;
}

}  // namespace

gateway_state::gateway_state(gateway_options options, protocol::link& link, std::shared_ptr<gateway::board> board,
                             metrics& figures)
    : options_(options),
      link_(link),
      board_(std::move(board)),
      figures_(figures),
      calls_("scheduler", [this](peer_id asker, managed answer) { answer_managed(asker, std::move(answer)); }),
      tally_(figures),
      succeeded_(figures.counter("shoal_gateway_requests_total", requests_help, {{"outcome", "ok"}})),
      late_(figures.counter("shoal_gateway_late_outcomes_total", "Outcomes of requests that were over already")),
      unexpected_(figures.counter("shoal_gateway_unexpected_messages_total", "Messages dropped: wrong sender or kind")),
      wrong_answers_(figures.counter("shoal_gateway_wrong_answers_total",
                                     "Answers of workers that the model cannot have given; clients get an error")),
      handed_again_(figures.counter("shoal_gateway_requests_handed_again_total",
                                    "Requests given to another scheduler after theirs was lost or set aside")),
      set_aside_(
          figures.counter("shoal_gateway_schedulers_set_aside_total",
                          "Schedulers that were given nothing for a while: their messages came late or not at all")),
      in_flight_(figures.gauge("shoal_gateway_requests_in_flight", "Requests without an outcome yet")),
      held_bytes_(figures.gauge("shoal_gateway_held_bytes", "Payload bytes of requests in flight")),
      latency_(figures.seconds("shoal_gateway_request_seconds", "From arrival to outcome")) {
  board_->ready_window = options_.probe_interval * 3;
  for (std::size_t code = 0; code < outcomes_.size(); ++code)
    outcomes_[code] = &figures.counter("shoal_gateway_requests_total", requests_help,
                                       {{"outcome", std::string(name_of(static_cast<errc>(code)))}});
}

// --- events ---------------------------------------------------------------------------------------------------------

void gateway_state::on(link_event& event, time_point now) {
  if (auto* up = std::get_if<peer_up>(&event)) return on_peer(*up, now);
  if (auto* down = std::get_if<peer_down>(&event)) return on_peer(*down, now);
  auto& delivered = std::get<delivery>(event);
  std::visit([&](auto& body) { on_message(delivered.from, body, now); }, delivered.body);
}

void gateway_state::on_peer(const peer_up& up, time_point now) {
  switch (up.service) {
    case service_kind::client: clients_[up.peer].administers = up.administers; break;
    case service_kind::worker:
      workers_[up.peer] = up.instance;
      excuse_silence(now);
      break;
    case service_kind::scheduler:
      schedulers_[up.peer].instance = up.instance;
      schedulers_[up.peer].takes_reports = up.version >= 2;
      if (auto known = lost_aside_.extract(up.instance)) schedulers_[up.peer].standing = known.mapped();
      if (!std::exchange(report_due_, true)) report_at_ = now + options_.report_interval;
      place_waiting(now);
      break;
    case service_kind::gateway:
    case service_kind::cache:
    case service_kind::precision: break;
  }
}

void gateway_state::on_peer(const peer_down& down, time_point now) {
  if (workers_.erase(down.peer) != 0) excuse_silence(now + while_one_returns);
  if (auto found = clients_.find(down.peer); found != clients_.end()) {
    const auto gone = std::move(found->second);
    clients_.erase(found);
    calls_.forget(down.peer);
    for (const auto& [client_id, id] : gone.requests) abandon(id);
  }
  const auto lost = schedulers_.find(down.peer);
  if (lost == schedulers_.end()) return;
  for (auto& [id, request] : requests_)
    if (request.scheduler == down.peer) take_from_scheduler(request);
  std::erase_if(lost_aside_, [&](const auto& entry) { return !entry.second.is_aside(now); });
  if (lost->second.standing.is_aside(now)) lost_aside_.insert_or_assign(lost->second.instance, lost->second.standing);
  schedulers_.erase(lost);
  calls_.lose(down.peer);
  publish_models(now);
  place_waiting(now);
}

// --- requests -------------------------------------------------------------------------------------------------------

void gateway_state::on_message(peer_id from, infer& request, time_point now) {
  const auto sender = clients_.find(from);
  if (sender == clients_.end()) return unexpected_.Increment();
  held incoming;
  incoming.client = from;
  incoming.client_id = request.id;
  incoming.client_attempt = request.attempt;
  incoming.request = std::move(request);
  if (sender->second.requests.contains(incoming.client_id))
    return reply(incoming, failure({errc::invalid_argument, "a request with id " + std::to_string(incoming.client_id) +
                                                                " is in flight on this connection already"}));
  const auto id = board_->next_id++;
  admit_and_place(id, std::move(incoming), now);
}

void gateway_state::submit(submission& submission, time_point now) {
  held incoming;
  incoming.request = std::move(submission.request);
  incoming.done = std::move(submission.done);
  incoming.is_part = submission.is_part;
  admit_and_place(submission.ticket, std::move(incoming), now);
}

expected<void> gateway_state::accept(held& incoming, time_point now) {
  auto& request = incoming.request;
  if (board_->draining && !incoming.is_probe && !incoming.is_part)
    return fail(errc::unavailable, "this gateway is shutting down: ask another one");
  if (request.time_left < microseconds::zero())
    return fail(errc::deadline_exceeded, "the deadline was over before the request arrived");
  incoming.bytes = payload_bytes(request);
  const auto taken = requests_.size() - parts_ + texts_.size();
  // What a part takes is bounded by the text that it is of.
  if (!incoming.is_part && (taken >= options_.max_requests || incoming.bytes > options_.max_bytes - bytes_)) {
    error full{errc::overloaded, "the gateway holds as many requests as it may: try again shortly"};
    full.retry_after = milliseconds(50);
    return tl::unexpected(std::move(full));
  }
  const auto models = board_->models.load();
  const auto spec = find_model(*models, request.model, request.version);
  if (!spec) return tl::unexpected(spec.error());
  incoming.is_text = carries_text(request, **spec);
  if (incoming.is_text && !text_.take) return fail(errc::unsupported, "this gateway reads no text: give token ids");
  if (!incoming.is_text)
    if (auto checked = admit(**spec, request); !checked) return checked;
  if (!incoming.is_text) incoming.rows = static_cast<std::uint32_t>(profile_of(**spec, request.inputs).rows);
  incoming.any_version = request.version == 0;
  request.version = (*spec)->version;
  const microseconds wanted = request.time_left.count() == 0 ? options_.default_deadline : request.time_left;
  incoming.arrived = now;
  incoming.deadline = now + std::min<microseconds>(wanted, options_.max_deadline);
  return {};
}

void gateway_state::admit_and_place(request_id id, held incoming, time_point now) {
  if (auto accepted = accept(incoming, now); !accepted) {
    if (!incoming.is_part) outcomes_[static_cast<std::size_t>(accepted.error().code)]->Increment();
    auto refused = failure(accepted.error());
    refused.model = incoming.request.model;
    return reply(incoming, std::move(refused));
  }
  incoming.request.id = id;
  incoming.request.attempt = 0;
  incoming.request.deaths = 0;
  incoming.request.payload_held = false;
  if (incoming.client != 0) clients_.at(incoming.client).requests[incoming.client_id] = id;
  bytes_ += charge(incoming);
  deadlines_.add(incoming.deadline, id);
  if (incoming.is_text) return read_text(id, std::move(incoming));
  if (incoming.is_part) ++parts_;
  auto& request = requests_.emplace(id, std::move(incoming)).first->second;
  deadlines_.prune(requests_.size(),
                   [this](request_id known) { return requests_.contains(known) || texts_.contains(known); });
  in_flight_.Set(static_cast<double>(requests_.size()));
  held_bytes_.Set(static_cast<double>(bytes_));
  place(id, request, now);
}

void gateway_state::on_message(peer_id from, const cancel& cancel, time_point) {
  const auto sender = clients_.find(from);
  if (sender == clients_.end()) return unexpected_.Increment();
  const auto found = sender->second.requests.find(cancel.key.id);
  if (found == sender->second.requests.end()) return;
  const auto id = found->second;
  auto& request = texts_.contains(id) ? texts_.at(id) : requests_.at(id);
  outcomes_[static_cast<std::size_t>(errc::cancelled)]->Increment();
  reply(request, failure({errc::cancelled, "the client took the request back"}));
  abandon(id);
}

void gateway_state::withdraw(request_id ticket) {
  if (texts_.contains(ticket)) return text_.drop(ticket);
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;
  outcomes_[static_cast<std::size_t>(errc::cancelled)]->Increment();
  auto done = std::move(found->second.done);
  abandon(ticket);
  if (done) done(failure({errc::cancelled, "the client took the request back"}));
}

/// Forgets a request that nobody waits for any more and tells the scheduler.
void gateway_state::abandon(request_id id) {
  if (texts_.contains(id)) return abandon_text(id);
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  auto& request = found->second;
  call_back(id, request);
  if (auto client = clients_.find(request.client); client != clients_.end())
    client->second.requests.erase(request.client_id);
  if (request.is_probe) probing_ = false;
  bytes_ -= charge(request);
  if (request.is_part) --parts_;
  requests_.erase(found);
  in_flight_.Set(static_cast<double>(requests_.size()));
  held_bytes_.Set(static_cast<double>(bytes_));
}

// --- outcomes -------------------------------------------------------------------------------------------------------

void gateway_state::on_message(peer_id from, outcome& outcome, time_point now) {
  if (!schedulers_.contains(from) && !workers_.contains(from)) return unexpected_.Increment();
  const auto known = requests_.find(outcome.id);
  if (known == requests_.end()) return late_.Increment();
  // Whoever was to run it before has failed: somebody else runs it.
  const bool is_of_before = (schedulers_.contains(from) && from != known->second.scheduler) ||
                            outcome.attempt < known->second.request.attempt;
  if (!outcome.result && is_of_before) return late_.Increment();
  if (!outcome.result && outcome.result.error().code == errc::not_found && known->second.any_version &&
      known->second.scheduler == from && take_over(outcome.id, known->second, now))
    return;
  const auto id = outcome.id;
  const auto scheduler = known->second.scheduler;
  note_answer(known->second, outcome, now);
  if (outcome.attempt < known->second.request.attempt) call_back(id, known->second);  // an earlier attempt was sooner
  if (outcome.result) {
    auto& request = known->second.request;
    // It was given to the version that took over, and the one before has answered after all.
    if (known->second.any_version && outcome.version != 0) request.version = outcome.version;
    const auto models = board_->models.load();
    const auto spec = find_model(*models, request.model, request.version);
    if (const auto good = spec ? check_answer(**spec, request, *outcome.result) : expected<void>(); !good) {
      wrong_answers_.Increment();
      spdlog::error("a wrong answer of peer {} for model '{}' version {}: {}", from, request.model, request.version,
                    good.error().message);
      return finish_with(id, good.error(), now);
    }
  }
  finish(id, std::move(outcome), now);
  look_for_slowness(scheduler, now);
}

/// The version that a request for "the highest" was given has been unloaded meanwhile: the one that took over serves
/// it.
bool gateway_state::take_over(request_id id, held& held, time_point now) {
  constexpr std::uint32_t most_attempts = 8;  // a scheduler that lists what it refuses shall not be asked for ever
  const auto models = board_->models.load();
  const auto spec = find_model(*models, held.request.model, 0);
  if (!spec || held.request.attempt >= most_attempts || !admit(**spec, held.request)) return false;
  held.request.version = (*spec)->version;
  take_from_scheduler(held);
  place(id, held, now);
  return true;
}

void gateway_state::finish(request_id id, outcome outcome, time_point now) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  auto request = std::move(found->second);
  requests_.erase(found);
  bytes_ -= charge(request);
  if (request.is_part) --parts_;
  in_flight_.Set(static_cast<double>(requests_.size()));
  held_bytes_.Set(static_cast<double>(bytes_));
  if (request.scheduler != 0) link_.settle(request.scheduler, id);
  leave_scheduler(request);
  if (auto client = clients_.find(request.client); client != clients_.end())
    client->second.requests.erase(request.client_id);
  // Of a text the whole is what its client sees.
  if (!request.is_part) latency_.Observe(std::chrono::duration<double>(now - request.arrived).count());
  if (!request.is_probe) {
    tally_.add({request.request.model, request.request.version}, request.rows, outcome, now - request.arrived,
               std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()));
    if (!std::exchange(report_due_, true)) report_at_ = now + options_.report_interval;
  }
  // A request that the model itself refuses has been to a worker and back: the way is open.
  const bool answered = outcome.result || (request.is_probe && outcome.result.error().code == errc::invalid_argument);
  if (answered) board_->last_success = now;
  if (outcome.result && !request.is_part)
    succeeded_.Increment();
  else if (!outcome.result && !request.is_part)
    outcomes_[static_cast<std::size_t>(outcome.result.error().code)]->Increment();
  outcome.model = request.request.model;
  outcome.version = request.request.version;
  if (request.is_probe) {
    probing_ = false;
    if (!answered) spdlog::warn("probe of model {} failed: {}", outcome.model, outcome.result.error().message);
    return;
  }
  reply(request, std::move(outcome));
}

void gateway_state::finish_with(request_id id, error reason, time_point now) {
  finish(id, failure(std::move(reason)), now);
}

void gateway_state::reply(held& request, outcome outcome) {
  if (request.client == 0) {
    if (request.done) std::exchange(request.done, nullptr)(std::move(outcome));
    return;
  }
  outcome.id = request.client_id;
  outcome.attempt = request.client_attempt;
  auto sent = link_.send(request.client, std::move(outcome));
  if (sent || sent.error().code == errc::unavailable) return;  // a client that is gone waits for nothing
  spdlog::warn("an outcome could not be written to a client: {}", sent.error().message);
  protocol::outcome instead = failure(sent.error());
  instead.id = request.client_id;
  instead.attempt = request.client_attempt;
  static_cast<void>(link_.send(request.client, std::move(instead)));
}

void gateway_state::on_message(peer_id from, const fetch& fetch, time_point) {
  if (!workers_.contains(from)) return unexpected_.Increment();
  payload answer{fetch.id, fetch.attempt, {}};
  if (const auto found = requests_.find(fetch.id); found != requests_.end())
    answer.inputs = found->second.request.inputs;
  else
    answer.inputs = fail(errc::cancelled, "the request is over");
  if (auto sent = link_.send(from, std::move(answer)); !sent && sent.error().code != errc::unavailable) {
    payload refused{fetch.id, fetch.attempt, tl::unexpected(sent.error())};
    static_cast<void>(link_.send(from, std::move(refused)));
  }
}

// --- what the mesh looks like ---------------------------------------------------------------------------------------

void gateway_state::on_message(peer_id from, catalogue& models, time_point now) {
  const auto found = schedulers_.find(from);
  if (found == schedulers_.end()) return unexpected_.Increment();
  std::set<model_key> dropped;
  for (const auto& spec : found->second.models.models) dropped.emplace(spec.name, spec.version);
  for (const auto& spec : models.models) dropped.erase({spec.name, spec.version});
  found->second.models = std::move(models);
  publish_models(now, dropped);
  if (!dropped.empty()) end_unloaded(now);
  place_waiting(now);
  if (board_->last_success.load() == time_point{}) next_probe_ = now;  // a mesh that has just come up shows it works
}

/// The union over the schedulers. A model that none of them lists any more because its scheduler was lost, or came back
/// and has not met the workers yet, stays known for a while with its shapes, so that requests for it are checked and
/// wait; one that was still loading, so that they are told to come again. What a scheduler that is well has `dropped`
/// was unloaded.
void gateway_state::publish_models(time_point now, const std::set<model_key>& dropped) {
  const auto before = board_->models.load();
  std::map<model_key, model_spec> best;
  for (const auto& spec : before->models) {
    const model_key key{spec.name, spec.version};
    if ((spec.outputs.empty() && spec.state != model_state::loading) || dropped.contains(key)) continue;
    if (orphans_.try_emplace(key, now + options_.forget_after).first->second <= now) continue;
    auto& known = best[key] = spec;
    known.state = model_state::loading;
    known.reason = "no scheduler lists it at present";
  }
  const auto rank = [](const model_spec& spec) {
    if (spec.state == model_state::ready) return 4;
    if (spec.state == model_state::failed) return 3;
    return spec.outputs.empty() ? 1 : 2;
  };
  for (const auto& [peer, scheduler] : schedulers_)
    for (const auto& spec : scheduler.models.models) {
      const model_key key{spec.name, spec.version};
      orphans_.erase(key);
      const auto [known, is_new] = best.try_emplace(key, spec);
      if (!is_new && rank(spec) > rank(known->second)) known->second = spec;
    }
  std::erase_if(orphans_, [&](const auto& entry) { return !best.contains(entry.first); });
  auto merged = std::make_shared<model_list>();
  merged->is_known = before->is_known || !best.empty();
  for (auto& [key, spec] : best) merged->models.push_back(std::move(spec));
  tally_.keep(*merged);
  board_->models = std::move(merged);
}

/// Requests that wait for a scheduler to list their model, which is known no more.
void gateway_state::end_unloaded(time_point now) {
  const auto models = board_->models.load();
  std::vector<request_id> waiting;
  for (const auto& [id, request] : requests_)
    if (request.scheduler == 0) waiting.push_back(id);
  for (const auto id : waiting) {
    auto& held = requests_.at(id);
    const auto is_same = [&](const model_spec& spec) {
      return spec.name == held.request.model && spec.version == held.request.version;
    };
    if (std::any_of(models->models.begin(), models->models.end(), is_same)) continue;
    if (held.any_version && take_over(id, held, now)) continue;
    finish_with(id,
                {errc::not_found, "model '" + held.request.model + "' version " + std::to_string(held.request.version) +
                                      " was unloaded"},
                now);
  }
}

// --- time -----------------------------------------------------------------------------------------------------------

void gateway_state::on_wake(time_point now) {
  while (auto id = deadlines_.pop_due(now)) {
    const auto found = requests_.find(*id);
    if (texts_.contains(*id)) {
      text_.drop(*id);
      finish_text(*id, failure({errc::deadline_exceeded, "the deadline was over before all texts were computed"}), now);
    }
    if (found == requests_.end()) continue;
    if (const auto with = schedulers_.find(found->second.scheduler); with != schedulers_.end())
      with->second.standing.expired(found->second.placed, now);
    call_back(*id, found->second);
    finish_with(*id, {errc::deadline_exceeded, "the deadline was over before the answer came"}, now);
  }
  look_for_silence(now);
  calls_.expire(now);
  if (std::any_of(orphans_.begin(), orphans_.end(), [&](const auto& orphan) { return orphan.second <= now; })) {
    publish_models(now);
    end_unloaded(now);
  }
  if (report_due_ && now >= report_at_) send_report();
  if (now >= next_probe_) probe(now);
}

std::optional<time_point> gateway_state::next_wake() const {
  auto next = deadlines_.next();
  const auto sooner = [&](time_point when) { next = next ? std::min(*next, when) : when; };
  sooner(next_probe_);
  if (report_due_) sooner(report_at_);
  if (const auto due = calls_.next()) sooner(*due);
  for (const auto& [key, when] : orphans_) sooner(when);
  for (const auto& [peer, scheduler] : schedulers_)
    if (const auto from = scheduler.standing.silent_from()) sooner(*from);
  return next;
}

/// Without traffic nobody would know whether the mesh still works: infers zeros on its models in turn.
void gateway_state::probe(time_point now) {
  next_probe_ = now + options_.probe_interval;
  const auto success = board_->last_success.load();
  if (board_->draining || probing_ || (success != time_point{} && now - success < options_.probe_interval)) return;
  const auto models = board_->models.load();
  std::vector<const model_spec*> ready;
  for (const auto& spec : models->models)
    if (spec.state == model_state::ready) ready.push_back(&spec);
  if (ready.empty()) return;
  held incoming;
  incoming.request = probe_of(*ready[probe_turn_++ % ready.size()]);
  incoming.request.time_left = options_.probe_interval;
  incoming.is_probe = true;
  probing_ = true;
  incoming.done = [this](const outcome& refused) {  // only a refusal at the door comes this way
    probing_ = false;
    spdlog::warn("the self-probe was refused: {}", refused.result ? "" : refused.result.error().message);
  };
  admit_and_place(board_->next_id++, std::move(incoming), now);
}

}  // namespace shoal::gateway
