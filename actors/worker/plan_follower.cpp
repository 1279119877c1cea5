#include "worker/plan_follower.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "core/rendezvous.hpp"
#include "core/tensor_bytes.hpp"
#include "executor/plan_message.hpp"

namespace shoal::worker {

using namespace protocol;

namespace {

/// Between two samples: so that they are of some seconds of traffic, not of one burst.
constexpr milliseconds between_samples{100};
/// A larger execution is no sample; its inputs would be in the way of answers.
constexpr std::size_t largest_sample = std::size_t{4} << 20;
constexpr std::string_view device_capability = "device=";

}  // namespace

plan_follower::plan_follower(protocol::link& link, std::function<void(protocol::replan)> replan, metrics& figures)
    : link_(link),
      replan_(std::move(replan)),
      samples_(figures.counter("shoal_worker_samples_total", "Inputs of executions given to precision services")),
      too_large_(figures.counter("shoal_worker_samples_too_large_total",
                                 "Executions that were asked for and are too large to be given, one member as well")),
      changes_(
          figures.counter("shoal_worker_plan_changes_total", "Plans that took the place of another while serving")),
      refused_(figures.counter("shoal_worker_plans_refused_total", "Plans of precision services that cannot be used")) {
}

bool plan_follower::on(link_event& event) {
  if (const auto* up = std::get_if<peer_up>(&event)) {
    if (up->service != service_kind::precision) return false;
    come(*up);
    return true;
  }
  if (const auto* down = std::get_if<peer_down>(&event)) {
    if (services_.erase(down->peer) == 0) return false;
    for (auto& [key, model] : models_) {
      if (model.sampler == down->peer) model.samples_wanted = 0;
      if (model.planner != down->peer) continue;
      choose_planner(model);
      if (model.planner != 0) tell(model.planner, model);
    }
    return true;
  }
  const auto& delivered = std::get<delivery>(event);
  if (!services_.contains(delivered.from)) return false;
  if (const auto* news = std::get_if<plan_news>(&delivered.body))
    take(delivered.from, *news);
  else if (const auto* asked = std::get_if<sampling>(&delivered.body))
    want(delivered.from, *asked);
  else
    return false;
  return true;
}

void plan_follower::come(const peer_up& up) {
  auto& known = services_[up.peer];
  known.instance = up.instance;
  for (const auto& each : up.capabilities)
    if (each.starts_with(device_capability)) known.device = each.substr(device_capability.size());
  for (auto& [key, model] : models_) {
    const auto before = model.planner;
    choose_planner(model);
    tell(up.peer, model);
    if (before != model.planner && before != 0) tell(before, model);  // it is relieved
  }
}

/// The greatest rendezvous weight among those that run on such a device: times measured elsewhere say nothing of it.
void plan_follower::choose_planner(followed& model) {
  const auto name = to_hex(model.target.archive) + model.target.device;
  model.planner = 0;
  std::uint64_t greatest = 0;
  for (const auto& [peer, known] : services_) {
    if (known.device != model.target.device) continue;
    const auto weight = rendezvous_weight(name, known.instance);
    if (model.planner != 0 && weight <= greatest) continue;
    model.planner = peer;
    greatest = weight;
  }
}

void plan_follower::serve(const loaded& model) {
  if (model.target.device.empty()) return;
  const model_key key{model.spec.name, model.spec.version};
  auto& followed = models_[key];
  followed.where = {model.folder, key.first, key.second};
  followed.target = model.target;
  followed.plan = model.plan;
  choose_planner(followed);
  tell_all(followed);
}

void plan_follower::stop(const model_key& model) {
  const auto found = models_.find(model);
  if (found == models_.end()) return;
  for (const auto& [peer, known] : services_)
    static_cast<void>(link_.send(peer, follows{found->second.target, executor::packed(nullptr), false, {}, false}));
  models_.erase(found);
}

void plan_follower::tell(peer_id service, const followed& model) {
  const auto sent = link_.send(service, follows{model.target, executor::packed(model.plan.get()),
                                                service == model.planner, model.refused, true});
  if (!sent && sent.error().code != errc::unavailable)
    spdlog::error("a precision service cannot be told by which plan {} computes: {}", model.target.model,
                  sent.error().message);
  if (service == model.planner && model.breach) static_cast<void>(link_.send(service, *model.breach));
}

void plan_follower::tell_all(const followed& model) {
  for (const auto& [peer, known] : services_) tell(peer, model);
}

plan_follower::followed* plan_follower::find(const plan_target& target) {
  const auto found = models_.find({target.model, target.version});
  return found != models_.end() && found->second.target == target ? &found->second : nullptr;
}

void plan_follower::take(peer_id from, const plan_news& news) {
  auto* model = find(news.target);
  if (model == nullptr) return;  // it was unloaded meanwhile
  auto plan = executor::unpacked(news.plan, "the plan of a precision service for " + news.target.model);
  if (!plan) {
    refused_.Increment();
    spdlog::warn("{} goes on as it is: {}", news.target.model, plan.error().message);
    model->refused = plan.error().message;
    return tell(from, *model);
  }
  const auto* newest = model->coming ? model->coming.get() : model->plan.get();
  if (newest != nullptr && !supersedes(*plan, *newest)) return;
  model->coming = std::make_shared<const executor::precision_plan>(*std::move(plan));
  replan_({model->where, model->coming});
}

void plan_follower::on(const replanned& done) {
  const auto found = models_.find({done.name, done.version});
  if (found == models_.end()) return;
  auto& model = found->second;
  if (model.coming == done.plan) model.coming = nullptr;
  model.refused = done.refused;
  if (done.refused.empty()) {
    changes_.Increment();
    model.plan = done.plan;
    model.breach.reset();
    spdlog::info("{} version {} computes by the plan {} from now on ({}): {:.2f} times as fast as fp32, error {:.2f}%",
                 done.name, done.version, done.plan->epoch(), done.plan->policy, done.plan->speedup,
                 done.plan->error * 100);
  } else {
    refused_.Increment();
    spdlog::warn("{} version {} does not compute by the plan {}: {}", done.name, done.version, done.plan->epoch(),
                 done.refused);
  }
  tell_all(model);
}

void plan_follower::on(given_up& what) {
  const auto found = models_.find({what.name, what.version});
  if (found == models_.end()) return;
  auto& model = found->second;
  breach told{model.target, what.epoch, what.error, what.budget, what.samples, what.node, {}};
  if (bytes_of(what.inputs) <= largest_sample) told.inputs = std::move(what.inputs);
  model.breach = std::move(told);
  if (model.planner != 0) static_cast<void>(link_.send(model.planner, *model.breach));
}

void plan_follower::want(peer_id from, const sampling& asked) {
  auto* model = find(asked.target);
  if (model == nullptr) return;
  model->sampler = from;
  model->samples_wanted = asked.executions;
}

bool plan_follower::wants_sample(const model_key& model, time_point now) const {
  const auto found = models_.find(model);
  return found != models_.end() && found->second.samples_wanted > 0 && now >= found->second.next_sample;
}

void plan_follower::give_sample(const model_key& model, std::vector<tensor> inputs, time_point now,
                                std::vector<tensor> alone) {
  const auto found = models_.find(model);
  if (found == models_.end() || found->second.samples_wanted == 0) return;
  found->second.next_sample = now + between_samples;
  if (bytes_of(inputs) > largest_sample) inputs = std::move(alone);
  if (inputs.empty() || bytes_of(inputs) > largest_sample) return too_large_.Increment();
  --found->second.samples_wanted;
  if (link_.send(found->second.sampler, sample{found->second.target, std::move(inputs)})) samples_.Increment();
}

}  // namespace shoal::worker
