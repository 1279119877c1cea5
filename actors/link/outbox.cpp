#include "link/outbox.hpp"

#include <algorithm>
#include <utility>

namespace shoal::link {

using namespace shoal::protocol;

expected<void> outbox::rejected(error why) {
  add(counters_.rejected_sends);
  return tl::unexpected(std::move(why));
}

void outbox::notify(std::unique_lock<std::mutex>& lock) {
  const bool sleeps = std::exchange(asleep_, false);
  lock.unlock();
  if (sleeps) poller_.wake();
}

expected<void> outbox::send(peer_id to, const message& body) {
  auto bytes = tensor_bytes(body);
  if (!bytes) return rejected(bytes.error());
  parcel next{to, *bytes > piece_size ? next_transfer_++ : 0, *bytes, {}};
  auto whole = encode(epoch_, body, next.transfer);
  if (!whole) return rejected(whole.error());
  next.whole = std::move(*whole);

  std::unique_lock lock(mutex_);
  auto found = accounts_.find(to);
  if (found == accounts_.end()) return fail(errc::unavailable, "that peer is no longer connected");
  auto& peer = *found->second;
  const auto* answer = std::get_if<outcome>(&body);
  if (answer != nullptr) peer.theirs.give_back(answer->id);
  if (*bytes > peer.max_message_bytes)
    return rejected({errc::too_large, "a message of " + std::to_string(*bytes) + " bytes is more than the " +
                                          std::to_string(peer.max_message_bytes) + " that " + peer.name + " takes"});
  const auto held = peer.queued_bytes + peer.held->load(std::memory_order_relaxed);
  if (peer.queued >= options_.max_queued_messages || (held > 0 && held + *bytes > options_.max_queued_bytes))
    return rejected({errc::overloaded, "too much waits to be written to " + peer.name});
  if (const auto* request = std::get_if<infer>(&body))
    if (!peer.ours.take(request->id, *bytes + options_.reply_room))
      return rejected({errc::overloaded, "no link credit is left at " + peer.name});
  peer.queued += 1;
  peer.queued_bytes += *bytes;
  parcels_.push_back(std::move(next));
  notify(lock);
  return {};
}

void outbox::settle(peer_id peer, request_id id) {
  std::lock_guard lock(mutex_);
  auto found = accounts_.find(peer);
  if (found == accounts_.end()) return;
  found->second->ours.give_back(id);
  found->second->theirs.give_back(id);
}

void outbox::post(command run) {
  std::unique_lock lock(mutex_);
  commands_.push_back(std::move(run));
  notify(lock);
}

void outbox::wake() {
  std::unique_lock lock(mutex_);
  woken_ = true;
  notify(lock);
}

void outbox::wake_at(time_point when) {
  std::unique_lock lock(mutex_);
  if (wake_at_ && *wake_at_ <= when) return;
  wake_at_ = when;
  notify(lock);
}

std::vector<outbox::standing_of> outbox::standing() const {
  std::lock_guard lock(mutex_);
  std::vector<standing_of> result;
  result.reserve(accounts_.size());
  for (const auto& [id, peer] : accounts_)
    result.push_back({peer, peer->ours.messages(), peer->ours.bytes(), peer->queued});
  return result;
}

std::shared_ptr<account> outbox::open(peer_id peer, const hello& said) {
  auto fresh = std::make_shared<account>(said, options_);
  std::lock_guard lock(mutex_);
  accounts_.emplace(peer, fresh);
  return fresh;
}

void outbox::close(peer_id peer) {
  std::lock_guard lock(mutex_);
  accounts_.erase(peer);
}

bool outbox::admit(account& peer, request_id id, std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  return peer.theirs.take(id, bytes + options_.reply_room);
}

void outbox::give_back(account& peer, request_id id) {
  std::lock_guard lock(mutex_);
  peer.ours.give_back(id);
}

void outbox::written(account& peer, std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  peer.queued -= 1;
  peer.queued_bytes -= bytes;
}

void outbox::take(std::vector<parcel>& parcels, std::vector<command>& commands) {
  parcels.clear();
  commands.clear();
  std::lock_guard lock(mutex_);
  parcels.swap(parcels_);
  commands.swap(commands_);
}

void outbox::heed() {
  std::lock_guard lock(mutex_);
  woken_ = false;
}

bool outbox::may_sleep(time_point now, time_point& until) {
  std::lock_guard lock(mutex_);
  if (std::exchange(woken_, false) || !parcels_.empty() || !commands_.empty()) return false;
  if (wake_at_) {
    if (*wake_at_ <= now) {
      wake_at_.reset();
      return false;
    }
    until = std::min(until, *wake_at_);
  }
  asleep_ = true;
  return true;
}

void outbox::awake() {
  std::lock_guard lock(mutex_);
  asleep_ = false;
}

}  // namespace shoal::link
