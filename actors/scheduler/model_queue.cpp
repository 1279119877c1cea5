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

waiting model_queue::take(iterator at) {
  auto request = std::move(*at);
  requests_.erase(at);
  return request;
}

std::vector<waiting> model_queue::take_for(batch_shape& batch, const batch_limits& limits, std::size_t search) {
  std::vector<waiting> members;
  for (auto at = requests_.begin(); at != requests_.end() && search > 0; --search) {
    if (batch.closed || batch.rows >= limits.rows) break;
    const auto candidate = at++;
    if (!fits(batch, *candidate, limits)) continue;
    batch.add(*candidate);
    members.push_back(take(candidate));
  }
  return members;
}

}  // namespace shoal::scheduler
