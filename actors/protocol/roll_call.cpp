#include "protocol/roll_call.hpp"

#include <algorithm>
#include <utility>

namespace shoal::protocol {

void roll_calls::open(request_key key, peer_id asker, request_key askers_key, std::map<peer_id, instance_id> asked,
                      time_point deadline) {
  const auto [at, is_new] = calls_.try_emplace(key);
  if (!is_new) return;  // asked again while it is open
  at->second = {asker, askers_key, deadline, std::move(asked), {}, {}};
  if (at->second.awaited.empty()) at->second.refusal = error{errc::unavailable, "there is no " + whom_ + " to ask"};
  close_if_complete(at);
}

/// One sentence per worker: it may be asked by several schedulers, and what worked outweighs what did not.
void roll_calls::add(call& to, worker_answer answer) {
  const auto [known, is_new] = to.answers.try_emplace(answer.worker, answer);
  if (!is_new && !known->second.result) known->second = std::move(answer);
}

void roll_calls::answer(peer_id from, managed body) {
  const auto at = calls_.find(body.key);
  if (at == calls_.end() || at->second.awaited.erase(from) == 0) return;
  if (body.result)
    for (auto& each : *body.result) add(at->second, std::move(each));
  else
    at->second.refusal = std::move(body.result.error());
  close_if_complete(at);
}

void roll_calls::lose(peer_id peer) {
  for (auto at = calls_.begin(); at != calls_.end();) {
    if (const auto lost = at->second.awaited.extract(peer); !lost.empty())
      add(at->second, {lost.mapped(), fail(errc::unavailable, "the " + whom_ + " was lost before it answered")});
    at = close_if_complete(at);
  }
}

void roll_calls::forget(peer_id asker) {
  std::erase_if(calls_, [&](const auto& entry) { return entry.second.asker == asker; });
}

void roll_calls::expire(time_point now) {
  for (auto at = calls_.begin(); at != calls_.end();) {
    auto& call = at->second;
    if (call.deadline <= now)
      for (const auto& [peer, instance] : std::exchange(call.awaited, {}))
        add(call, {instance, fail(errc::deadline_exceeded, "the " + whom_ +
                                                               " has not answered in time; what was asked of it may "
                                                               "still happen: look at `shoal models`")});
    at = close_if_complete(at);
  }
}

std::optional<time_point> roll_calls::next() const {
  std::optional<time_point> first;
  for (const auto& [key, call] : calls_) first = first ? std::min(*first, call.deadline) : call.deadline;
  return first;
}

roll_calls::iterator roll_calls::close_if_complete(iterator at) {
  if (!at->second.awaited.empty()) return std::next(at);
  auto done = std::move(at->second);
  const auto following = calls_.erase(at);
  managed answer{done.askers_key, {}};
  if (done.answers.empty() && done.refusal) answer.result = tl::unexpected(std::move(*done.refusal));
  if (answer.result)
    for (auto& [instance, each] : done.answers) answer.result->push_back(std::move(each));
  on_closed_(done.asker, std::move(answer));
  return following;
}

}  // namespace shoal::protocol
