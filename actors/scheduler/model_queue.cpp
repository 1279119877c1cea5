#include "scheduler/model_queue.hpp"

#include <algorithm>

namespace shoal::scheduler {

void batch_shape::add(const waiting& member) {
  if (members++ == 0) profile = member.profile;
  rows += member.profile.rows;
  longest = std::max(longest, member.profile.length);
  tokens += member.profile.rows * member.profile.length;
  closed = closed || member.alone || !member.profile.joinable;
}

bool fits(const batch_shape& batch, const waiting& candidate, const batch_limits& limits) {
  if (batch.members == 0) return true;
  if (batch.closed || candidate.alone || !protocol::may_join(batch.profile, candidate.profile)) return false;
  const auto rows = batch.rows + candidate.profile.rows;
  if (rows > limits.rows || batch.members >= limits.members) return false;
  const auto padded =
      static_cast<double>(rows) * static_cast<double>(std::max(batch.longest, candidate.profile.length));
  const auto tokens = static_cast<double>(batch.tokens + candidate.profile.rows * candidate.profile.length);
  return padded - tokens <= limits.padding * padded;
}

namespace {

std::size_t rank_of(protocol::priority priority) {
  switch (priority) {
    case protocol::priority::critical: return 0;
    case protocol::priority::standard: return 1;
    case protocol::priority::batch: return 2;
  }
  return 1;
}

}  // namespace

model_queue::level& model_queue::level_of(const waiting& request) { return levels_[rank_of(request.request.priority)]; }

model_queue::iterator model_queue::push_back(waiting request) {
  request.returned = false;
  request.order = next_order_++;
  auto& level = level_of(request);
  const auto at = level.requests.insert(level.requests.end(), std::move(request));
  level.by_deadline.insert(at);
  ++size_;
  return at;
}

model_queue::iterator model_queue::push_front(waiting request) {
  request.returned = true;
  ++size_;
  return returned_.insert(returned_.begin(), std::move(request));
}

waiting model_queue::take(iterator at) {
  --size_;
  auto* list = &returned_;
  if (!at->returned) {
    auto& level = level_of(*at);
    level.by_deadline.erase(at);
    list = &level.requests;
  }
  auto request = std::move(*at);
  list->erase(at);
  return request;
}

model_queue::iterator model_queue::next() {
  if (!returned_.empty()) return returned_.begin();
  const auto level =
      std::find_if(levels_.begin(), levels_.end(), [](const auto& each) { return !each.by_deadline.empty(); });
  return *level->by_deadline.begin();
}

urgency model_queue::most_urgent() {
  const auto first = next();
  return {first->returned ? 0 : static_cast<int>(rank_of(first->request.priority)) + 1, first->deadline};
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

std::vector<waiting> model_queue::take_for(batch_shape& batch, const batch_limits& limits, time_point now,
                                           std::size_t search) {
  std::vector<waiting> members;
  const auto consider = [&](iterator candidate) {
    if (!fits(batch, *candidate, limits)) return;
    batch.add(*candidate);
    members.push_back(take(candidate));
  };
  const auto is_full = [&] { return search == 0 || batch.closed || batch.rows >= limits.rows; };
  if (batch.members == 0)
    if (const auto old = old_one(now)) consider(*old);
  for (auto at = returned_.begin(); at != returned_.end() && !is_full(); --search) consider(at++);
  for (auto& level : levels_)
    for (auto at = level.by_deadline.begin(); at != level.by_deadline.end() && !is_full(); --search) consider(*at++);
  return members;
}

}  // namespace shoal::scheduler
