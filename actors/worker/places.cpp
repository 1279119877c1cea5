#include "worker/places.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace shoal::worker {

using protocol::peer_id;

namespace {

constexpr std::size_t withdrawn_kept = 64;
constexpr int hold_decay = 64;  ///< a lease withdrawn in time takes this part of what is held longer than `shortest`

}  // namespace

void places::join(peer_id scheduler, bool asks, time_point now) {
  schedulers_[scheduler].asks = asks;
  want(scheduler, protocol::priority::standard, now);
}

void places::leave(peer_id scheduler) {
  const auto found = schedulers_.find(scheduler);
  if (found == schedulers_.end()) return;
  strays_ += found->second.batches;
  schedulers_.erase(found);
  std::erase_if(leases_, [&](const lease& each) { return each.holder == scheduler; });
}

bool places::asks(peer_id scheduler) const {
  const auto found = schedulers_.find(scheduler);
  return found != schedulers_.end() && found->second.asks;
}

void places::want(peer_id scheduler, protocol::priority as, time_point now) {
  const auto found = schedulers_.find(scheduler);
  if (found == schedulers_.end()) return;
  auto& wants = found->second.wants;
  if (!wants)
    wants = wish{as, now};
  else if (protocol::rank_of(as) < protocol::rank_of(wants->as))
    wants->as = as;
}

std::optional<places::lease> places::occupy(peer_id scheduler, protocol::offer_id id) {
  const auto found = std::find_if(leases_.begin(), leases_.end(),
                                  [&](const lease& each) { return each.id == id && each.holder == scheduler; });
  if (found == leases_.end()) return std::nullopt;
  const auto used = *found;
  leases_.erase(found);
  ++schedulers_.at(scheduler).batches;
  last_user_ = scheduler;
  return used;
}

void places::miss(protocol::offer_id id, time_point now) {
  const auto found =
      std::find_if(withdrawn_.begin(), withdrawn_.end(), [&](const auto& each) { return each.first == id; });
  if (found == withdrawn_.end()) return;
  hold_ = std::clamp<steady::duration>(2 * (now - found->second), hold_, longest);
}

void places::vacate(peer_id scheduler) {
  if (const auto found = schedulers_.find(scheduler); found != schedulers_.end())
    --found->second.batches;
  else
    --strays_;
}

std::size_t places::held_by(const entry& scheduler) const {
  const auto unused =
      std::count_if(leases_.begin(), leases_.end(), [&](const lease& each) { return each.holder == scheduler.first; });
  return scheduler.second.batches + static_cast<std::size_t>(unused);
}

places::entry* places::next() {
  const bool turn_of_the_old_one = leased_ % turn_of_the_old == turn_of_the_old - 1;
  const auto before = [&](const entry& a, const entry& b) {
    const auto& x = *a.second.wants;
    const auto& y = *b.second.wants;
    if (turn_of_the_old_one) return x.since < y.since;
    return std::tuple(protocol::rank_of(x.as), a.second.last_lease) <
           std::tuple(protocol::rank_of(y.as), b.second.last_lease);
  };
  entry* first = nullptr;
  for (auto& each : schedulers_)
    if (each.second.wants && (first == nullptr || before(each, *first))) first = &each;
  return first;
}

std::optional<std::pair<std::size_t, time_point>> places::takeable(const entry& wanting) const {
  std::optional<std::pair<std::size_t, time_point>> best;
  for (std::size_t i = 0; i < leases_.size(); ++i) {
    const auto& each = leases_[i];
    const auto holder = schedulers_.find(each.holder);
    if (each.holder == wanting.first || !holder->second.asks) continue;
    const bool has_more = held_by(*holder) > held_by(wanting);
    const auto from = each.since + (!has_more     ? std::max<steady::duration>(idle, hold_)
                                    : each.wanted ? hold_
                                                  : steady::duration::zero());
    if (!best || from < best->second) best = {i, from};
  }
  return best;
}

void places::grant(entry& to, bool wanted, time_point now, changes& made) {
  lease added;
  added.id = next_lease_++;
  added.holder = to.first;
  added.since = now;
  added.wanted = wanted;
  leases_.push_back(added);
  to.second.last_lease = ++leased_;
  to.second.wants.reset();
  made.granted.push_back({to.first, added.id});
}

places::changes places::settle(time_point now) {
  changes made;
  if (!open_ || schedulers_.empty()) return made;
  const auto free = [&] {
    auto taken = leases_.size() + strays_;
    for (const auto& each : schedulers_) taken += each.second.batches;
    return taken < count_;
  };
  // Who speaks an older version wants by having nothing.
  for (auto& each : schedulers_)
    if (!each.second.asks && held_by(each) == 0 && !each.second.wants)
      each.second.wants = wish{protocol::priority::standard, now};
  while (free()) {
    if (auto* wanting = next()) {
      grant(*wanting, true, now, made);
      continue;
    }
    const auto last = schedulers_.find(last_user_);
    grant(last != schedulers_.end() ? *last : *schedulers_.begin(), false, now, made);
  }
  for (auto& each : schedulers_) {
    if (!each.second.wants) continue;
    const auto found = takeable(each);
    if (!found || found->second > now) continue;
    const auto taken = leases_.begin() + static_cast<std::ptrdiff_t>(found->first);
    made.withdrawn.push_back({taken->holder, taken->id});
    withdrawn_.emplace_back(taken->id, now);
    if (withdrawn_.size() > withdrawn_kept) withdrawn_.pop_front();
    hold_ -= (hold_ - shortest) / hold_decay;
    leases_.erase(taken);
    grant(each, true, now, made);
  }
  return made;
}

std::optional<time_point> places::next_change() const {
  std::optional<time_point> next;
  if (!open_) return next;
  for (const auto& each : schedulers_) {
    if (!each.second.wants) continue;
    const auto found = takeable(each);
    if (found && (!next || found->second < *next)) next = found->second;
  }
  return next;
}

std::optional<peer_id> places::critical_one() const {
  const auto found = std::find_if(schedulers_.begin(), schedulers_.end(), [](const entry& each) {
    return each.second.wants && each.second.wants->as == protocol::priority::critical;
  });
  if (found == schedulers_.end()) return std::nullopt;
  return found->first;
}

}  // namespace shoal::worker
