#include "scheduler/model_queue.hpp"

#include <algorithm>
#include <cstdlib>

namespace shoal::scheduler {

void batch_shape::add(const waiting& member) {
  if (members++ == 0) profile = member.profile;
  rows += member.profile.rows;
  longest = std::max(longest, member.profile.length);
  tokens += member.profile.rows * member.profile.length;
  closed = closed || member.alone || !member.profile.joinable;
  const auto of_member = member.returned ? 0 : rank_of(member.request.priority);
  rank = members == 1 ? of_member : std::min(rank, of_member);
}

bool fits(const batch_shape& batch, const waiting& candidate, const batch_limits& limits) {
  if (batch.members == 0) return true;
  // Rows may be none: a batch that is full takes no such request either.
  if (batch.closed || batch.rows >= limits.rows || candidate.alone ||
      !protocol::may_join(batch.profile, candidate.profile))
    return false;
  const batch_size grown{batch.rows + candidate.profile.rows, std::max(batch.longest, candidate.profile.length)};
  if (grown.rows > limits.rows || batch.members >= limits.members || grown.tokens() > limits.tokens) return false;
  const auto padded = static_cast<double>(grown.rows) * static_cast<double>(grown.length);
  const auto tokens = static_cast<double>(batch.tokens + candidate.profile.rows * candidate.profile.length);
  if (padded - tokens > limits.padding * padded) return false;
  if (limits.profile == nullptr || batch.tightest == time_point::max()) return true;
  const auto takes = limits.profile->predict(grown);
  return !takes || limits.start + *takes <= std::min(batch.tightest, candidate.deadline);
}

model_queue::level& model_queue::level_of(const waiting& request) {
  return levels_[static_cast<std::size_t>(rank_of(request.request.priority) - 1)];
}

model_queue::iterator model_queue::push_back(waiting request) {
  request.returned = false;
  request.order = next_order_++;
  auto& level = level_of(request);
  level.cost += request.cost;
  const auto at = level.requests.insert(level.requests.end(), std::move(request));
  level.by_deadline.insert(at);
  ++size_;
  return at;
}

model_queue::iterator model_queue::push_front(waiting request) {
  request.returned = true;
  returned_cost_ += request.cost;
  ++size_;
  return returned_.insert(returned_.begin(), std::move(request));
}

model_queue::iterator model_queue::put_back(waiting request) {
  if (request.returned) return push_front(std::move(request));
  auto& level = level_of(request);
  level.cost += request.cost;
  const auto where = std::find_if(level.requests.begin(), level.requests.end(),
                                  [&](const waiting& other) { return other.order > request.order; });
  const auto at = level.requests.insert(where, std::move(request));
  level.by_deadline.insert(at);
  ++size_;
  return at;
}

model_queue::iterator model_queue::hold(waiting request, time_point until) {
  request.returned = true;
  request.held = true;
  request.held_until = until;
  return held_.insert(held_.begin(), std::move(request));
}

time_point model_queue::held_until() const {
  const auto sooner = [](const waiting& a, const waiting& b) { return a.held_until < b.held_until; };
  return std::min_element(held_.begin(), held_.end(), sooner)->held_until;
}

void model_queue::let_go(time_point now, std::size_t others) {
  std::list<waiting> due, first;
  for (auto at = held_.begin(); at != held_.end();) {
    const auto each = at++;
    const bool is_due = each->held_until <= now;
    if (!is_due && others == 0) continue;
    if (!is_due) --others;
    each->held = false;
    returned_cost_ += each->cost;
    ++size_;
    auto& to = is_due ? due : first;
    to.splice(to.end(), held_, each);
  }
  returned_.splice(returned_.begin(), first);
  returned_.splice(returned_.begin(), due);
}

std::size_t model_queue::suspects() const {
  return static_cast<std::size_t>(
      std::count_if(returned_.begin(), returned_.end(), [](const waiting& each) { return each.alone; }));
}

waiting model_queue::take(iterator at) {
  if (at->held) {
    auto request = std::move(*at);
    request.held = false;
    held_.erase(at);
    return request;
  }
  --size_;
  auto* list = &returned_;
  auto* cost = &returned_cost_;
  if (!at->returned) {
    auto& level = level_of(*at);
    level.by_deadline.erase(at);
    list = &level.requests;
    cost = &level.cost;
  }
  *cost -= at->cost;
  auto request = std::move(*at);
  list->erase(at);
  return request;
}

microseconds model_queue::ahead_of(int rank, time_point deadline, bool whole_class) const {
  auto ahead = returned_cost_;
  for (int higher = 1; higher < rank; ++higher) ahead += levels_[static_cast<std::size_t>(higher - 1)].cost;
  const auto& own = levels_[static_cast<std::size_t>(rank - 1)];
  // Whoever goes last has the whole class before it; most do, since most have as much time as those before them.
  if (whole_class || own.by_deadline.empty() || (*own.by_deadline.rbegin())->deadline <= deadline)
    return ahead + own.cost;
  for (const auto& at : own.by_deadline) {
    if (at->deadline > deadline) break;
    ahead += at->cost;
  }
  return ahead;
}

model_queue::iterator model_queue::next() {
  if (!returned_.empty()) return returned_.begin();
  const auto level =
      std::find_if(levels_.begin(), levels_.end(), [](const auto& each) { return !each.by_deadline.empty(); });
  return *level->by_deadline.begin();
}

const waiting& model_queue::front() const { return *const_cast<model_queue*>(this)->next(); }

urgency model_queue::most_urgent() const {
  const auto& first = front();
  return {first.returned ? 0 : rank_of(first.request.priority), first.deadline};
}

time_point model_queue::oldest_arrival() const {
  auto oldest = returned_.empty() ? time_point::max() : returned_.front().arrived;
  for (const auto& level : levels_)
    if (!level.requests.empty()) oldest = std::min(oldest, level.requests.front().arrived);
  return oldest;
}

std::optional<model_queue::iterator> model_queue::old_one(time_point now) {
  std::optional<iterator> oldest;
  bool others_before = !returned_.empty();
  for (auto& level : levels_) {
    if (level.requests.empty()) continue;
    const auto first = level.requests.begin();
    if (others_before && now - first->arrived >= patience && (!oldest || first->arrived < (*oldest)->arrived))
      oldest = first;
    others_before = true;
  }
  if (!oldest) return std::nullopt;
  if (++turns_ < turn_of_the_old) return std::nullopt;
  turns_ = 0;
  return oldest;
}

std::vector<model_queue::iterator> model_queue::candidates(const batch_shape& batch, std::size_t search) {
  std::vector<iterator> found;
  const auto consider = [&](iterator at) {
    if (!at->alone && protocol::may_join(batch.profile, at->profile)) found.push_back(at);
  };
  for (auto at = returned_.begin(); at != returned_.end() && search > 0; ++at, --search) consider(at);
  for (auto& level : levels_)
    for (auto at = level.by_deadline.begin(); at != level.by_deadline.end() && search > 0; ++at, --search)
      consider(*at);
  return found;
}

std::vector<waiting> model_queue::take_for(batch_shape& batch, const batch_limits& limits, time_point now,
                                           std::size_t search) {
  std::vector<waiting> members;
  const auto join = [&](iterator at) {
    batch.add(*at);
    if (limits.profile != nullptr) {
      const auto alone = limits.profile->predict({at->profile.rows, at->profile.length});
      if (alone && limits.start + *alone <= at->deadline) batch.tightest = std::min(batch.tightest, at->deadline);
    }
    members.push_back(take(at));
  };
  if (batch.members == 0) {
    const auto old = old_one(now);
    batch.makes_way = batch.makes_way && !old;
    join(old.value_or(next()));
  }
  if (batch.closed || batch.rows >= limits.rows || empty()) return members;
  auto others = candidates(batch, search);
  const auto apart = [&](iterator at) { return std::abs(at->profile.length - batch.profile.length); };
  std::stable_sort(others.begin(), others.end(), [&](iterator a, iterator b) { return apart(a) < apart(b); });
  for (const auto at : others) {
    if (batch.rows >= limits.rows) break;
    if (fits(batch, *at, limits)) join(at);
  }
  return members;
}

}  // namespace shoal::scheduler
