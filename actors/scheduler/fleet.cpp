#include "scheduler/fleet.hpp"

#include <algorithm>
#include <utility>

#include "core/back_off.hpp"

namespace shoal::scheduler {

using protocol::peer_id;

namespace {

constexpr std::size_t places_of_worker = 2;

microseconds since_epoch(time_point when) { return std::chrono::duration_cast<microseconds>(when.time_since_epoch()); }

}  // namespace

// --- a pool ---------------------------------------------------------------------------------------------------------

std::vector<pool::kind>::iterator pool::find(const std::string& device) {
  return std::find_if(kinds_.begin(), kinds_.end(), [&](const kind& each) { return each.device == device; });
}

std::optional<pool::candidate> pool::soonest(batch_size one, time_point now) const {
  std::optional<candidate> best;
  auto best_end = time_point::max();
  for (const auto& kind : kinds_) {
    if (kind.with_room.empty()) continue;
    const auto& first = *kind.with_room.begin();
    // With one device there is nothing to compare.
    const auto takes =
        kinds_.size() > 1 ? kind.profile->predict(one).value_or(steady::duration::zero()) : steady::duration::zero();
    const auto end = std::max(first.free_at, now) + takes;
    if (best && end >= best_end) continue;
    best = candidate{first.worker, first.free_at, first.is_idle(now)};
    best_end = end;
  }
  return best;
}

bool pool::has_idle(time_point now) const {
  return std::any_of(kinds_.begin(), kinds_.end(), [now](const kind& each) {
    return !each.with_room.empty() && each.with_room.begin()->is_idle(now);
  });
}

bool pool::kind::entry::is_idle(time_point now) const {
  return free_at == time_point::min() || (free_at <= now && worker->batches.empty());
}

double pool::capacity(time_point now) const {
  return (static_cast<double>(workers_) + expected_back(now)) * share_.part(workers_, now);
}

double pool::expected_back(time_point now) const {
  const auto due = std::count_if(back_by_.begin(), back_by_.end(), [now](time_point by) { return by > now; });
  return static_cast<double>(std::min(static_cast<std::size_t>(due), workers_));
}

std::optional<time_point> pool::back_by() const {
  const auto last = std::max_element(back_by_.begin(), back_by_.end());
  return last == back_by_.end() ? std::nullopt : std::optional(*last);
}

worker* pool::to_ask(int rank) {
  if (places_ >= places_of_worker * workers_) return nullptr;
  constexpr int looked_at = 8;
  scheduler::worker* best = nullptr;
  for (std::size_t i = 0; i < std::min<std::size_t>(looked_at, members_.size()); ++i) {
    auto& each = *members_[next_to_ask_++ % members_.size()];
    if (!each.leases || !each.as.counted || each.places() >= places_of_worker) continue;
    if (each.asked != 0 && each.asked <= rank) continue;
    if (best == nullptr || each.free_from() < best->free_from()) best = &each;
  }
  return best;
}

microseconds pool::backlog(time_point now) const {
  const auto running = free_at_sum_ - since_epoch(now) * static_cast<std::int64_t>(busy_);
  return std::max(running, microseconds::zero()) + staged_sum_;
}

latency_profile* pool::usual_profile() const {
  const auto most = std::max_element(kinds_.begin(), kinds_.end(),
                                     [](const kind& a, const kind& b) { return a.workers < b.workers; });
  return most == kinds_.end() ? nullptr : most->profile;
}

bool pool::has(const scheduler::worker& worker) const {
  return std::find(worker.pools.begin(), worker.pools.end(), this) != worker.pools.end();
}

latency_profile* pool::profile_of(const scheduler::worker& worker) const {
  if (!has(worker)) return nullptr;
  const auto kind =
      std::find_if(kinds_.begin(), kinds_.end(), [&](const auto& each) { return each.device == worker.device; });
  return kind->profile;
}

// --- membership -----------------------------------------------------------------------------------------------------

worker& fleet::add(const protocol::peer_up& up) {
  auto& added = workers_[up.peer];
  added.peer = up.peer;
  added.instance = up.instance;
  added.leases = up.version >= 3;
  for (const std::string_view capability : up.capabilities)
    if (constexpr std::string_view prefix = "device="; capability.starts_with(prefix))
      added.device = capability.substr(prefix.size());
  return added;
}

worker* fleet::find(peer_id peer) {
  const auto found = workers_.find(peer);
  return found == workers_.end() ? nullptr : &found->second;
}

std::optional<worker> fleet::remove(peer_id peer, time_point now) {
  const auto found = workers_.find(peer);
  if (found == workers_.end()) return std::nullopt;
  if (!found->second.pools.empty()) {
    constexpr std::size_t most_losses = 64;
    losses_.push_back(now);
    if (losses_.size() > most_losses) losses_.pop_front();
    const auto by = now + returns_.timeout();
    for (auto* each : found->second.pools) {
      std::erase_if(each->back_by_, [now](time_point due) { return due <= now; });
      each->back_by_.push_back(by);
    }
  }
  leave(found->second);
  if (found->second.judged != 0) {
    auto& device = paces_[found->second.device];
    device.sum -= found->second.pace;
    if (--device.count == 0) paces_.erase(found->second.device);
  }
  ejected_.erase(peer);
  auto removed = std::move(found->second);
  workers_.erase(found);
  return removed;
}

/// Changes what its pools know of it.
void fleet::become(scheduler::worker& worker, const scheduler::worker::indexed& next) {
  const auto last = std::exchange(worker.as, next);
  for (auto* each : worker.pools) {
    const auto count = [each](const scheduler::worker::indexed& as, int sign) {
      if (!as.counted) return;
      each->workers_ += static_cast<std::size_t>(sign);
      each->places_ += static_cast<std::size_t>(sign) * as.places;
      if (!as.busy) return;
      each->busy_ += static_cast<std::size_t>(sign);
      each->free_at_sum_ += since_epoch(as.free_at) * sign;
      each->staged_sum_ += as.staged * sign;
    };
    count(last, -1);
    count(next, 1);
    auto& room = each->find(worker.device)->with_room;
    const pool::kind::entry before{last.free_at, last.turn, worker.peer, &worker};
    const pool::kind::entry after{next.free_at, next.turn, worker.peer, &worker};
    if (last.room && next.room) {
      if (before == after) continue;
      auto node = room.extract(before);
      node.value() = after;
      room.insert(std::move(node));
    } else if (last.room) {
      room.erase(before);
    } else if (next.room) {
      room.insert(after);
    }
  }
}

/// A worker serves in the place of the one that was lost first. What comes much later is another story.
void fleet::note_return(time_point now) {
  constexpr std::chrono::seconds longest{30};
  while (!losses_.empty() && now - losses_.front() > longest) losses_.pop_front();
  if (losses_.empty()) return;
  returns_.note(now - losses_.front());
  losses_.pop_front();
}

void fleet::leave(worker& worker) {
  become(worker, {});
  for (auto* each : worker.pools) {
    --each->listed_;
    std::erase(each->members_, &worker);
    const auto kind = each->find(worker.device);
    if (--kind->workers == 0) each->kinds_.erase(kind);
    call_back(*each);
  }
  worker.pools.clear();
}

void fleet::place(worker& worker, const std::vector<std::pair<pool*, latency_profile*>>& pools, time_point now) {
  const auto before = worker.pools;
  leave(worker);
  if (before.empty() && !pools.empty()) note_return(now);
  for (const auto& [each, profile] : pools) {
    const bool is_new = std::find(before.begin(), before.end(), each) == before.end();
    if (is_new && !each->back_by_.empty()) each->back_by_.erase(each->back_by_.begin());
    worker.pools.push_back(each);
    ++each->listed_;
    each->members_.push_back(&worker);
    auto kind = each->find(worker.device);
    if (kind == each->kinds_.end()) {
      each->kinds_.push_back({worker.device, profile, 0, {}});
      kind = std::prev(each->kinds_.end());
    }
    ++kind->workers;
  }
  if (!pools.empty()) update(worker);
}

void fleet::update(worker& worker) {
  scheduler::worker::indexed now;
  now.counted = !worker.ejected_until;
  now.room = now.counted && !worker.is_full && !worker.offers.empty() && (!worker.on_trial || worker.batches.empty());
  now.places = worker.places();
  now.busy = !worker.batches.empty();
  now.free_at = worker.free_from();
  if (now.busy) now.staged = worker.staged;
  now.turn = worker.turn;
  if (now != worker.as) become(worker, now);
}

void fleet::note_share(worker& worker, steady::duration got, steady::duration of, time_point now) {
  for (auto* each : worker.pools) each->share_.note(got, of, now);
}

void fleet::mark_overdue(time_point now) {
  for (auto& [peer, worker] : workers_) {
    if (worker.batches.empty() || worker.free_at >= now) continue;
    worker.free_at = now;
    update(worker);
  }
}

void fleet::write_again() {
  for (auto& [peer, worker] : workers_) {
    worker.is_full = false;
    update(worker);
  }
}

// --- outliers -------------------------------------------------------------------------------------------------------

bool fleet::may_eject(const worker& worker) const {
  return !worker.pools.empty() && std::all_of(worker.pools.begin(), worker.pools.end(),
                                              [](const pool* each) { return each->workers_ * 2 >= each->listed_ + 2; });
}

void fleet::call_back(const pool& left) {
  if (left.workers_ * 2 >= left.listed_) return;
  for (const auto* member : left.members_)
    if (const auto out = ejected_.find(member->peer); out != ejected_.end()) out->second = time_point::min();
}

bool fleet::judge(worker& worker, std::optional<double> ratio, bool failed, time_point now) {
  if (worker.ejected_until) return false;  // of before
  bool slow = false;
  const bool was_on_trial = std::exchange(worker.on_trial, false);
  if (ratio && *ratio > 0) {
    auto& device = paces_[worker.device];
    if (worker.judged++ == 0) {
      ++device.count;
      device.sum += worker.pace;
    }
    // On trial its past does not count. One batch that hung is not enough for any verdict.
    constexpr double most = 16;
    const auto change = (std::min(*ratio, most) - worker.pace) * (was_on_trial ? 1.0 : 1 / most);
    worker.pace += change;
    device.sum += change;
    if (device.count > 1) {
      const auto others = (device.sum - worker.pace) / static_cast<double>(device.count - 1);
      slow = worker.pace > rules_.slower * others;
    }
  }
  const bool bad = failed || slow;
  worker.bad_in_a_row = bad ? worker.bad_in_a_row + 1 : 0;
  if (!bad && was_on_trial) worker.ejections = 0;
  const bool out = bad && (was_on_trial || worker.bad_in_a_row >= rules_.in_a_row) && may_eject(worker);
  if (out) {
    worker.bad_in_a_row = 0;
    worker.ejected_until = ejected_[worker.peer] = now + doubled(rules_.first, worker.ejections++, rules_.longest);
  }
  update(worker);
  return out;
}

std::vector<peer_id> fleet::readmit(time_point now) {
  std::vector<peer_id> back;
  for (const auto& [peer, until] : ejected_)
    if (until <= now) back.push_back(peer);
  for (const auto peer : back) {
    ejected_.erase(peer);
    auto& worker = workers_.at(peer);
    worker.ejected_until.reset();
    worker.on_trial = true;
    update(worker);
  }
  return back;
}

std::optional<time_point> fleet::next_readmission() const {
  std::optional<time_point> next;
  for (const auto& [peer, until] : ejected_) next = next ? std::min(*next, until) : until;
  return next;
}

}  // namespace shoal::scheduler
