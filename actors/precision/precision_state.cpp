#include "precision/precision_state.hpp"

#include <algorithm>
#include <array>

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include "core/tensor_bytes.hpp"
#include "executor/plan_message.hpp"

namespace shoal::precision {

using namespace protocol;
using executor::calibration;
using executor::precision_plan;

namespace {

/// Targets kept though nobody computes by them any more, for workers that come back.
constexpr std::size_t most_targets = 1024;
constexpr std::uint64_t greatest_generation = 1ull << 52;  ///< from outside: room to count on
constexpr std::size_t most_known = 64;
constexpr std::size_t largest_plan = std::size_t{16} << 20;  ///< bytes of its text, as of a file
constexpr milliseconds longest_wait{3'600'000};

constexpr std::array<std::pair<plan_source, std::string_view>, 5> sources{{{plan_source::measured, "measured"},
                                                                           {plan_source::bf16, "bf16"},
                                                                           {plan_source::rule, "rule"},
                                                                           {plan_source::fp32, "fp32"},
                                                                           {plan_source::file, "file"}}};

constexpr auto speedup_name = "shoal_precision_plan_speedup";
constexpr auto speedup_help = "Of the plan that counts: time in fp32 / time with it, as measured when it was made";
constexpr auto error_name = "shoal_precision_plan_error";
constexpr auto error_help = "Of the plan that counts: of its outputs against fp32's, as measured when it was made";

metrics::labels labels_of(const plan_target& target) {
  return {{"model", target.model}, {"version", std::to_string(target.version)}, {"device", target.device}};
}

std::string title(const plan_target& target) { return target.model + " version " + std::to_string(target.version); }

}  // namespace

expected<plan_source> parse_plan_source(std::string_view name) {
  for (const auto& [source, known] : sources)
    if (known == name) return source;
  return fail(errc::invalid_argument,
              "the policy \"" + std::string(name) + "\" is not known: write measured, bf16, rule, fp32 or file");
}

std::string_view name_of(plan_source source) noexcept {
  for (const auto& [known, name] : sources)
    if (known == source) return name;
  return "measured";
}

precision_state::precision_state(precision_options options, protocol::link& link, port threads, metrics& figures)
    : options_(std::move(options)),
      link_(link),
      threads_(std::move(threads)),
      figures_(figures),
      plannings_(figures.counter("shoal_precision_plannings_total", "Plans made or mended")),
      failures_(figures.counter("shoal_precision_plannings_failed_total", "Plans that could not be made")),
      breaches_(
          figures.counter("shoal_precision_breaches_total", "Plans given up, since answers were too far from fp32's")),
      samples_(figures.counter("shoal_precision_samples_total", "Inputs of executions that workers gave")),
      samples_dropped_(figures.counter("shoal_precision_samples_dropped_total", "Of these: for want of room")),
      unexpected_(
          figures.counter("shoal_precision_unexpected_messages_total", "Messages dropped: wrong sender or kind")),
      plans_(figures.gauge("shoal_precision_plans", "Models whose plan is known here, each kind of device apart")),
      under_way_(figures.gauge("shoal_precision_planning", "Plans under way here")),
      kept_bytes_(figures.gauge("shoal_precision_samples_bytes", "Of inputs kept to plan with")) {}

precision_state::~precision_state() { stop_->store(true); }

// --- peers ----------------------------------------------------------------------------------------------------------

void precision_state::on(link_event& event, time_point now) {
  if (const auto* up = std::get_if<peer_up>(&event)) {
    if (up->service == service_kind::scheduler) schedulers_.insert(up->peer);
    if (up->service == service_kind::worker) workers_.insert(up->peer);
  } else if (const auto* down = std::get_if<peer_down>(&event)) {
    schedulers_.erase(down->peer);
    if (workers_.erase(down->peer) != 0)
      for (auto& [target, each] : entries_) {
        each.followers.erase(down->peer);
        if (!is_ours(each)) forget_samples(each);
      }
  } else {
    auto& delivered = std::get<delivery>(event);
    if (!workers_.contains(delivered.from)) return unexpected_.Increment();
    std::visit([&](auto& body) { on_message(delivered.from, body, now); }, delivered.body);
  }
  go_on(now, options_.report_interval);
}

/// After whatever has changed something.
void precision_state::go_on(time_point now, milliseconds until_report) {
  start_next(now);
  ask_for_samples(now);
  if (!report_at_) report_at_ = now + until_report;
}

void precision_state::on_message(peer_id from, follows& told, time_point now) {
  if (entries_.empty()) look_at_ = now + options_.look_interval;
  if (!told.is_served) {
    const auto known = entries_.find(told.target);
    if (known == entries_.end()) return;
    known->second.followers.erase(from);
    if (!is_ours(known->second)) forget_samples(known->second);
    return;
  }
  const auto known = entries_.find(told.target);
  if (known == entries_.end() && entries_.size() >= most_targets) {
    const auto unused =
        std::find_if(entries_.begin(), entries_.end(), [](const auto& each) { return each.second.followers.empty(); });
    if (unused == entries_.end()) return unexpected_.Increment();
    forget_samples(unused->second);
    if (unused->second.speedup != nullptr) {
      figures_.remove(speedup_name, speedup_help, *unused->second.speedup);
      figures_.remove(error_name, error_help, *unused->second.error);
    }
    entries_.erase(unused);
  }
  auto& of = entries_[told.target];
  if (known == entries_.end() || (told.plans_here && !of.followers[from].asks_us && !of.is_looked_up))
    threads_.shelf({told.target, nullptr, true});
  auto& follower = of.followers[from];
  follower.asks_us = told.plans_here;
  follower.refused = told.refused.substr(0, 512);
  if (!follower.refused.empty()) follower.tell_again = now + options_.first_wait;
  follower.follows = nullptr;
  if (told.plan.data.size() > largest_plan) return unexpected_.Increment();
  if (told.plan.data.size() > 0) {
    auto plan = executor::unpacked(told.plan, "a worker's plan");
    if (!plan || plan->model != to_hex(told.target.archive) || plan->device != told.target.device)
      return unexpected_.Increment();
    follower.follows = std::make_shared<const precision_plan>(*std::move(plan));
    if (of.plan == nullptr || supersedes(*follower.follows, *of.plan))
      take_from_outside(told.target, of, follower.follows, false);
    // The same: one of them is enough.
    if (of.plan != nullptr && follower.follows->generation == of.plan->generation &&
        !supersedes(*of.plan, *follower.follows))
      follower.follows = of.plan;
  }
  publish(told.target, of);
}

// --- plans ----------------------------------------------------------------------------------------------------------

/// One that this service did not make: what it had in mind for the one before is over.
void precision_state::take_from_outside(const plan_target& target, entry& of, shared_plan plan, bool keeps) {
  if (plan->generation > greatest_generation) return unexpected_.Increment();
  of.wants_mending = false;
  of.breaching.clear();
  take(target, of, std::move(plan), keeps);
}

/// From now on this one counts. `keeps`: it came into being here, and goes into the file.
void precision_state::take(const plan_target& target, entry& of, shared_plan plan, bool keeps) {
  of.plan = std::move(plan);
  of.text = executor::packed(of.plan.get());
  of.known.emplace_back(of.plan->generation, of.plan->epoch());
  if (of.known.size() > most_known) of.known.pop_front();
  if (keeps) threads_.shelf({target, of.plan, false});
  show(target, of);
  publish(target, of);
}

/// Tells everybody who computes by an older one.
void precision_state::publish(const plan_target& target, entry& of) {
  if (options_.source == plan_source::fp32 && (of.plan == nullptr || !of.plan->is_fp32())) {
    if (!of.is_looked_up) return;  // what lies there may count as newer
    of.plan = in_fp32(target, of, "fp32");
    of.text = executor::packed(of.plan.get());
    of.said = "fp32, as the configuration says";
    show(target, of);
  }
  if (of.plan == nullptr) return;
  for (auto& [peer, follower] : of.followers) {
    const auto lacks = [&](const shared_plan& has) { return has == nullptr || supersedes(*of.plan, *has); };
    if (!lacks(follower.follows) || !lacks(follower.told)) continue;
    if (link_.send(peer, plan_news{target, of.text})) follower.told = of.plan;
  }
}

precision_state::shared_plan precision_state::in_fp32(const plan_target& target, const entry& of,
                                                      std::string policy) const {
  precision_plan plain;
  plain.model = to_hex(target.archive);
  plain.device = target.device;
  plain.policy = std::move(policy);
  plain.generation = of.plan != nullptr ? of.plan->generation + 1 : 1;
  plain.speedup = 1;
  plain.budget = options_.budget;
  plain.calibrated_on = calibration::seeded;  // whoever plans next makes another of the traffic
  return std::make_shared<const precision_plan>(std::move(plain));
}

void precision_state::on(shelf_found& found, time_point now) {
  const auto at = entries_.find(found.target);
  if (at == entries_.end()) return;
  auto& of = at->second;
  if (found.is_kept) {
    if (!found.plan) {
      of.said = "the plan is kept in memory only: " + found.plan.error().message;
      spdlog::warn("precision: {}: {}", title(found.target), of.said);
    }
  } else {
    // Looks after the first one tell of changes: a plan that nobody knew was written by somebody, who means it,
    // whatever generation it says.
    const bool is_by_hand =
        of.is_looked_up && found.plan && of.plan != nullptr && !supersedes(**found.plan, *of.plan) &&
        std::find(of.known.begin(), of.known.end(), std::pair((*found.plan)->generation, (*found.plan)->epoch())) ==
            of.known.end();
    of.is_looked_up = true;
    if (is_by_hand) {
      auto meant = **found.plan;
      meant.generation = of.plan->generation + 1;
      of.said = "from the file beside the archive, which somebody has written";
      take_from_outside(found.target, of, std::make_shared<const precision_plan>(std::move(meant)), true);
    } else if (found.plan && (of.plan == nullptr || supersedes(**found.plan, *of.plan))) {
      spdlog::info("precision: {}: the plan {} beside its archive counts", title(found.target), (*found.plan)->epoch());
      of.said = "from the file beside the archive";
      take_from_outside(found.target, of, *found.plan, false);
    } else if (!found.plan && found.plan.error().code != errc::not_found) {
      of.said = found.plan.error().message;
      spdlog::warn("precision: {}: {}", title(found.target), of.said);
    }
    publish(found.target, of);
  }
  go_on(now, options_.report_interval);
}

// --- samples --------------------------------------------------------------------------------------------------------

void precision_state::forget_samples(entry& of) {
  sample_bytes_ -= of.sample_bytes;
  of.sample_bytes = 0;
  of.samples.clear();
  of.has_no_room = false;
  kept_bytes_.Set(static_cast<double>(sample_bytes_));
}

/// Enough, or as many as there is room for.
bool precision_state::has_samples(const entry& of) const {
  return of.samples.size() >= options_.samples || (of.has_no_room && !of.samples.empty());
}

bool precision_state::wants_samples(const entry& of) const {
  if (!of.is_looked_up || !is_ours(of) || has_samples(of)) return false;
  if (!makes_plans()) return false;
  return of.plan == nullptr || of.plan->calibrated_on == calibration::seeded;
}

void precision_state::ask_for_samples(time_point now) {
  for (auto& [target, of] : entries_) {
    if (!wants_samples(of)) continue;
    const auto each = (options_.samples - of.samples.size() + of.followers.size() - 1) / of.followers.size();
    for (auto& [peer, follower] : of.followers) {
      if (follower.ask_after > now) continue;
      follower.ask_after = now + options_.ask_again;
      static_cast<void>(link_.send(peer, sampling{target, static_cast<std::uint32_t>(each)}));
    }
  }
}

/// What comes first is kept, until there are enough: they were asked for over some seconds.
void precision_state::on_message(peer_id from, sample& given, time_point) {
  const auto at = entries_.find(given.target);
  if (at == entries_.end() || !at->second.followers.contains(from)) return unexpected_.Increment();
  samples_.Increment();
  auto& of = at->second;
  const auto bytes = bytes_of(given.inputs);
  if (!wants_samples(of)) return samples_dropped_.Increment();
  // One model's samples may not keep those of all others away: the room is shared by those that want some.
  const auto sharing = static_cast<std::size_t>(
      std::count_if(entries_.begin(), entries_.end(), [&](const auto& each) { return wants_samples(each.second); }));
  if (of.sample_bytes + bytes > options_.sample_bytes / std::max<std::size_t>(sharing, 1) && !of.samples.empty()) {
    of.has_no_room = true;
    return samples_dropped_.Increment();
  }
  if (bytes > options_.sample_bytes) return samples_dropped_.Increment();
  of.samples.push_back(std::move(given.inputs));
  of.sample_bytes += bytes;
  sample_bytes_ += bytes;
  kept_bytes_.Set(static_cast<double>(sample_bytes_));
}

void precision_state::on_message(peer_id from, breach& told, time_point) {
  const auto at = entries_.find(told.target);
  if (at == entries_.end() || !at->second.followers.contains(from)) return unexpected_.Increment();
  auto& of = at->second;
  if (of.plan == nullptr || of.plan->is_fp32() || of.plan->epoch() != told.epoch) return;  // it is given up already
  ++of.breaches;
  breaches_.Increment();
  of.said = fmt::format("breach: the plan {} was off by {:.2f}% of a budget of {:.2f}% over {} requests compared{}",
                        told.epoch, told.error * 100, told.budget * 100, told.samples,
                        told.node.empty() ? "" : ", seen at " + told.node.substr(0, 128));
  spdlog::warn("precision: {}: {}; it computes in fp32 from now on", title(told.target), of.said);
  of.breaching.clear();
  if (!told.inputs.empty() && bytes_of(told.inputs) <= options_.sample_bytes)
    of.breaching.push_back(std::move(told.inputs));
  of.breached = of.plan;
  of.wants_mending = !of.breaching.empty() && options_.source != plan_source::file;
  // A file that somebody keeps for himself stays as it is.
  take(told.target, of, in_fp32(told.target, of, "breach"), options_.source != plan_source::file);
}

// --- planning -------------------------------------------------------------------------------------------------------

bool precision_state::is_ours(const entry& of) const {
  return std::any_of(of.followers.begin(), of.followers.end(), [](const auto& each) { return each.second.asks_us; });
}

precision_state::need precision_state::need_of(const plan_target& target, const entry& of) const {
  if (!of.is_looked_up || !is_ours(of) || target.device != options_.device) return need::none;
  if (!makes_plans()) return need::none;
  if (of.wants_mending) return need::mend;
  if (of.plan == nullptr) return need::first;
  if (has_samples(of) && of.plan->calibrated_on == calibration::seeded) return need::renew;
  return need::none;
}

/// One at a time: what a plan takes is measured, and two would measure each other.
void precision_state::start_next(time_point now) {
  if (planning_) return;
  const std::pair<const plan_target, entry>* chosen = nullptr;
  need greatest = need::none;
  for (const auto& each : entries_) {
    const auto needed = need_of(each.first, each.second);
    if (needed == need::none || now < each.second.not_before) continue;
    if (chosen != nullptr && needed >= greatest) continue;
    chosen = &each;
    greatest = needed;
  }
  if (chosen == nullptr) return;
  const auto& target = chosen->first;
  auto& of = entries_.at(target);
  planning_order order;
  order.target = target;
  order.policy = name_of(options_.source);
  order.budget = options_.budget;
  order.seconds = options_.seconds;
  order.stop = stop_;
  of.planned_from = of.plan;
  if (greatest == need::mend) {
    order.mends = of.breached;
    if (of.breached->budget > 0) order.budget = std::min(order.budget, of.breached->budget);
    order.samples = of.breaching;
    of.wants_mending = false;
  } else if (has_samples(of)) {
    order.samples = of.samples;
    order.samples.insert(order.samples.end(), of.breaching.begin(), of.breaching.end());
  }
  planning_ = target;
  under_way_.Set(1);
  of.phase = greatest == need::mend ? "mending" : "planning";
  of.share = 0;
  threads_.plan(std::move(order));
}

void precision_state::on(planning_step& step, time_point now) {
  const auto at = entries_.find(step.target);
  if (at == entries_.end()) return;
  at->second.phase = std::move(step.phase);
  at->second.share = step.share;
  if (!report_at_) report_at_ = now + options_.report_interval;
}

/// Unless another counts meanwhile: somebody has written it, another service has made it, or there was a breach.
void precision_state::take_planned(const planning_done& done, entry& of) {
  auto plan = **done.plan;
  if (of.plan != of.planned_from) {
    spdlog::info("precision: {}: {}: not taken, another plan came meanwhile", title(done.target), done.said);
    return;
  }
  if (done.is_mended) {
    if (of.breached != nullptr && plan.epoch() == of.breached->epoch()) {
      of.said = "the inputs of the breach say of no node that it errs: fp32 until there are samples";
      return;
    }
    plan.calibrated_on = calibration::seeded;  // made anew as soon as there are samples
  } else if (plan.calibrated_on == calibration::traffic) {
    of.breaching.clear();
    forget_samples(of);
  }
  plan.generation = of.plan != nullptr ? of.plan->generation + 1 : 1;
  of.said = done.said;
  spdlog::info("precision: {}: {} (plan {}, {:.0f} s)", title(done.target), done.said, plan.epoch(), done.seconds);
  take(done.target, of, std::make_shared<const precision_plan>(std::move(plan)), true);
}

void precision_state::on(planning_done& done, time_point now) {
  planning_.reset();
  under_way_.Set(0);
  const auto at = entries_.find(done.target);
  if (at != entries_.end()) {
    auto& of = at->second;
    of.phase.clear();
    if (!done.plan) {
      failures_.Increment();
      of.wait = std::min(std::max(of.wait * 2, options_.first_wait), longest_wait);
      of.not_before = now + of.wait;
      of.said = "could not be planned: " + done.plan.error().message;
      spdlog::warn("precision: {}: {}", title(done.target), of.said);
    } else {
      plannings_.Increment();
      of.wait = {};
      take_planned(done, of);
    }
  }
  go_on(now, milliseconds(0));
}

// --- time, reports --------------------------------------------------------------------------------------------------

void precision_state::on_wake(time_point now) {
  if (now >= look_at_) {
    look_at_ = now + options_.look_interval;
    for (const auto& [target, of] : entries_)
      if (!of.followers.empty()) threads_.shelf({target, nullptr, !of.is_looked_up});
  }
  for (auto& [target, of] : entries_) {
    bool tells = false;
    for (auto& [peer, follower] : of.followers) {
      if (follower.refused.empty() || now < follower.tell_again) continue;
      follower.told = nullptr;
      follower.tell_again = now + options_.first_wait;
      tells = true;
    }
    if (tells) publish(target, of);
  }
  start_next(now);
  ask_for_samples(now);
  if (report_at_ && now >= *report_at_) {
    report_at_.reset();
    send_report();
  }
}

std::optional<time_point> precision_state::next_wake() const {
  if (entries_.empty()) return report_at_;
  auto next = look_at_;
  if (report_at_) next = std::min(next, *report_at_);
  return next;
}

void precision_state::show(const plan_target& target, entry& of) {
  if (of.speedup == nullptr) {
    of.speedup = &figures_.gauge(speedup_name, speedup_help, labels_of(target));
    of.error = &figures_.gauge(error_name, error_help, labels_of(target));
  }
  of.speedup->Set(of.plan->is_fp32() ? 1 : of.plan->speedup);
  of.error->Set(of.plan->is_fp32() ? 0 : of.plan->error);
}

plan_report precision_state::report_on(const plan_target& target, const entry& of) const {
  plan_report told;
  told.target = target;
  told.said = of.said;
  told.is_planned_here = is_ours(of);
  told.breaches = of.breaches;
  told.samples = static_cast<std::uint32_t>(of.samples.size());
  for (const auto& [peer, follower] : of.followers) {
    ++told.workers;
    if (of.plan != nullptr && follower.follows != nullptr && !supersedes(*of.plan, *follower.follows)) ++told.following;
    if (!follower.refused.empty()) told.said = "a worker does not use it: " + follower.refused;
  }
  if (of.plan != nullptr) {
    told.epoch = of.plan->epoch();
    told.policy = of.plan->policy;
    told.calibrated_on = name_of(of.plan->calibrated_on);
    told.generation = of.plan->generation;
    told.speedup = of.plan->speedup;
    told.error = of.plan->error;
    told.budget = of.plan->budget;
    std::map<std::string_view, std::uint32_t> counts;
    for (const auto& [name, node] : of.plan->nodes) ++counts[executor::name_of(node.as)];
    for (const auto& [name, number] : counts)
      told.nodes += (told.nodes.empty() ? "" : ", ") + std::to_string(number) + " " + std::string(name);
  }
  if (planning_ == target)
    told.state = fmt::format("{}: {:.0f}%", of.phase, of.share * 100);
  else if (wants_samples(of) && of.plan != nullptr)
    told.state = fmt::format("waits for traffic: {} of {} samples", of.samples.size(), options_.samples);
  else if (need_of(target, of) != need::none)
    told.state = "waits for its turn";
  else
    told.state = "settled";
  return told;
}

void precision_state::send_report() {
  plans_.Set(static_cast<double>(
      std::count_if(entries_.begin(), entries_.end(), [](const auto& each) { return each.second.plan != nullptr; })));
  service_report own{"precision", options_.instance, {}, {}, {}};
  for (auto& [name, value] : figures_.snapshot()) own.figures.push_back({name, value});
  for (const auto& [target, of] : entries_)
    if (!of.followers.empty()) own.plans.push_back(report_on(target, of));
  for (const auto peer : schedulers_) static_cast<void>(link_.send(peer, report{{own}}));
}

}  // namespace shoal::precision
