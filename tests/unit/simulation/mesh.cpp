#include "unit/simulation/mesh.hpp"

#include <algorithm>
#include <utility>

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>

#include "unit/simulation/model.hpp"

namespace shoal::test {

using namespace protocol;

mesh::mesh(const world& of, std::uint64_t seed, bool traced)
    : of_(of), time_(seed), wires_(time_, of.wires), checks_(time_) {
  if (traced) tracer_ = std::make_unique<tracer>(time_);
  wires_.hear = [this](place_id place, link_event what) { hear(place, std::move(what)); };
  wires_.seen = [this](place_id from, place_id to, const link_event& what) {
    checks_.note(to * 31 + what.index());
    checks_.note(static_cast<std::uint64_t>(time_.now().time_since_epoch().count()));
    if (const auto* told = std::get_if<delivery>(&what)) {
      checks_.note(told->body.index());
      const auto* ended = std::get_if<outcome>(&told->body);
      if (ended != nullptr && nodes_[to].service == kind::gateway)
        seen_.again += !heard_of_.insert({instance_of(to), ended->id}).second;
    }
    if (tracer_) tracer_->heard(from, to, what);
  };
  if (of_.harm != sabotage::none)
    wires_.tamper = [this](place_id from, place_id to, const message& body) { return tamper(from, to, body); };
  wires_.forgets_to_settle = of_.harm == sabotage::unsettled_credit;
  for (const auto& model : of_.models) models_.versions[model.model] = {model.versions.begin(), model.versions.end()};
  if (of_.managed > 0) checks_.allow(errc::not_found);
  if (of_.failures > 0) checks_.allow(errc::internal);
  // Schedulers cannot tell a worker that was lost from one that a request has ended; nor, where several share a worker
  // or it waits for payloads, which of the batches that it has it ran.
  if (of_.worker_deaths + of_.breaks + of_.silences + of_.pauses > 0 ||
      (of_.poison > 0 && (of_.schedulers > 1 || of_.inline_bytes < world().inline_bytes)))
    checks_.allow(errc::poisoned);
  add(kind::scheduler, of_.schedulers);
  add(kind::cache, of_.caches);
  add(kind::precision, of_.planners);
  add(kind::gateway, of_.gateways);
  add(kind::worker, of_.workers);
  add(kind::client, of_.clients);
  for (place_id place = 0; place < nodes_.size(); ++place) start(place);
}

verdict mesh::run() {
  constexpr milliseconds warm_up{300}, recovery{5000};
  time_.run(time_.now() + warm_up);
  faults_end_ = time_.now() + in_seconds(of_.seconds);
  begin_traffic(faults_end_);
  begin_faults(faults_end_);
  time_.run(faults_end_);
  all_is_well_ = true;
  wires_.quicken();
  if (of_.calm_seconds > 0) {
    load_what_is_missing();
    const auto calm_begins = faults_end_ + recovery;
    const auto end = calm_begins + in_seconds(of_.calm_seconds);
    begin_traffic(end);
    time_.run(calm_begins);
    must_be_ready();
    is_calm_ = true;
    time_.run(end);
  }
  time_.run(time_.now() + std::max(of_.most_time, milliseconds(2000)) + checker::grace + milliseconds(1));
  settle();
  seen_.seen = checks_.seen();
  seen_.broken = checks_.broken();
  seen_.print = checks_.print();
  for (const auto& each : nodes_) {
    if (auto* gateway = dynamic_cast<gateway_process*>(each.runs.get())) seen_.late += gateway->late();
    if (auto* scheduler = dynamic_cast<scheduler_process*>(each.runs.get())) seen_.recalled += scheduler->recalled();
    if (auto* worker = dynamic_cast<worker_process*>(each.runs.get())) {
      seen_.withdrawn += worker->withdrawn();
      seen_.batches += worker->batches();
    }
  }
  if (tracer_) seen_.trace = tracer_->lines(checks_.suspects());
  return std::move(seen_);
}

// --- processes ------------------------------------------------------------------------------------------------------

void mesh::add(kind service, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto place = wires_.add();
    auto& added = nodes_.emplace_back();
    added.service = service;
    added.number = i;
    if (service == kind::cache) {
      added.disk.identity = time_.word() | 1;
      disks_[added.disk.identity] = &added.disk;
    }
    if (tracer_) tracer_->name(place, fmt::format("{} {}", name_of(service), i + 1));
  }
}

std::vector<place_id> mesh::all_of(std::initializer_list<kind> kinds) const {
  std::vector<place_id> found;
  for (const auto wanted : kinds)
    for (place_id place = 0; place < nodes_.size(); ++place)
      if (nodes_[place].service == wanted) found.push_back(place);
  return found;
}

std::vector<place_id> mesh::awake(kind service) const {
  auto found = all_of({service});
  std::erase_if(found, [this](place_id place) {
    return nodes_[place].runs == nullptr || wires_.paused_until(place) > time_.now() || nodes_[place].draining;
  });
  return found;
}

void mesh::start(place_id place) {
  auto& self = nodes_[place];
  const auto life = ++self.lives;
  self.draining = false;
  greeting said;
  said.service = self.service;
  said.instance = instance_of(place);
  said.epoch = life;
  said.credit_messages = of_.credit_messages;
  std::vector<place_id> reaches_for;
  switch (self.service) {
    case kind::client: reaches_for = all_of({kind::gateway}); break;
    case kind::worker:
      said.capabilities = {"device=cpu/1"};
      reaches_for = all_of({kind::cache, kind::gateway, kind::precision, kind::scheduler});
      break;
    case kind::cache:
      said.capabilities = {fmt::format("name={:016x}", nodes_[place].disk.identity)};
      reaches_for = all_of({kind::scheduler});
      break;
    case kind::precision:
      said.capabilities = {std::string("device=") + plans_device};
      reaches_for = all_of({kind::scheduler});
      break;
    case kind::gateway: reaches_for = all_of({kind::scheduler}); break;
    case kind::scheduler: break;
  }
  if (tracer_) tracer_->note(place, fmt::format("starts as {}", said.instance));
  const auto instance = said.instance;
  wires_.start(place, std::move(said), reaches_for);
  surroundings with{of_, time_, wires_, checks_, all_is_well_, place, instance, {}, {}};
  with.stepped = [this, place] { stepped(place); };
  with.die = [this, place, life] {
    time_.after({}, [this, place, life] {
      if (nodes_[place].lives == life && nodes_[place].runs) kill(place, network::end::killed);
    });
  };
  if (tracer_) tracer_->is(place, instance);
  self.runs = make(place, std::move(with));
  set_alarm(place);
}

std::unique_ptr<process> mesh::make(place_id place, surroundings with) {
  auto& self = nodes_[place];
  switch (self.service) {
    case kind::client: return std::make_unique<client_process>(std::move(with));
    case kind::gateway: return std::make_unique<gateway_process>(std::move(with));
    case kind::scheduler: return std::make_unique<scheduler_process>(std::move(with), self.profiles);
    case kind::worker: {
      const bool is_slow = of_.slow_worker > 0 && self.number + 1 == of_.workers;
      return std::make_unique<worker_process>(std::move(with), models_, is_slow ? of_.slow_worker : 1, memory_, disks_);
    }
    case kind::cache: return std::make_unique<cache_process>(std::move(with), self.disk, memory_);
    case kind::precision: return std::make_unique<precision_process>(std::move(with), models_);
  }
  return nullptr;
}

void mesh::hear(place_id place, link_event what) {
  nodes_[place].runs->on(what);
  stepped(place);
}

void mesh::stepped(place_id place) {
  auto& self = nodes_[place];
  if (!self.runs) return;
  self.runs->examine();
  set_alarm(place);
}

void mesh::set_alarm(place_id place) {
  auto& self = nodes_[place];
  if (of_.harm == sabotage::late_clients && self.service == kind::client) return;
  const auto next = self.runs->next_wake();
  if (!next) return;
  const auto when = std::max(*next, time_.now());
  if (self.alarm && *self.alarm <= when) return;
  self.alarm = when;
  wires_.later(place, when - time_.now(), [this, place, when] {
    auto& self = nodes_[place];
    if (self.alarm != when) return;
    self.alarm.reset();
    self.runs->on_wake();
    stepped(place);
  });
}

network::tampering mesh::tamper(place_id, place_id to, const message& body) {
  using harm = network::tampering;
  if (of_.harm == sabotage::outcomes_twice && nodes_[to].service == kind::client &&
      std::holds_alternative<outcome>(body) && time_.chance(0.05))
    return harm::twice;
  if (of_.harm == sabotage::lossy_when_calm && is_calm_ && time_.chance(0.01)) return harm::lose;
  return harm::none;
}

// --- the end --------------------------------------------------------------------------------------------------------

std::string mesh::left() const {
  for (place_id place = 0; place < nodes_.size(); ++place) {
    if (!nodes_[place].runs) return fmt::format("place {} is empty", place);
    if (auto what = nodes_[place].runs->left(); !what.empty()) return what;
  }
  if (checks_.open() != 0) return fmt::format("{} request(s) without an outcome", checks_.open());
  if (const auto taken = wires_.credit_taken(); taken != 0) return fmt::format("link credit of {} request(s)", taken);
  return differing_plans();
}

/// All that serve a model come to compute it by the same plan, whoever made that.
std::string mesh::differing_plans() const {
  if (of_.planners == 0) return {};
  std::map<std::pair<std::string, std::uint64_t>, std::string> by;
  for (const auto& each : nodes_)
    if (const auto* worker = dynamic_cast<const worker_process*>(each.runs.get()))
      for (const auto& [model, epoch] : worker->epochs())
        if (const auto known = by.emplace(model, epoch); known.first->second != epoch)
          return fmt::format("workers that compute {} by the plans {} and {}", model.first, epoch, known.first->second);
  return {};
}

/// With nobody asking any more, nothing is left soon. A probe of a gateway may be under way at any one time.
void mesh::settle() {
  constexpr milliseconds step{500};
  constexpr int most_steps = 30;
  auto what = left();
  for (int i = 0; i < most_steps && !what.empty(); ++i) {
    time_.run(time_.now() + step);
    what = left();
  }
  if (!what.empty()) checks_.fail("what is left in the end: " + what);
}

void mesh::must_be_ready() {
  for (place_id place = 0; place < nodes_.size(); ++place) {
    const auto& each = nodes_[place];
    if (!each.runs)
      checks_.fail(fmt::format("{} {} does not run", name_of(each.service), each.number + 1));
    else if (const auto what = each.runs->lacks(); !what.empty())
      checks_.fail(fmt::format("{} {} is not ready: {}", name_of(each.service), each.number + 1, what));
  }
}

verdict simulate(const world& of, std::uint64_t seed) {
  spdlog::set_level(spdlog::level::off);
  return mesh(of, seed, traces()).run();
}

}  // namespace shoal::test
