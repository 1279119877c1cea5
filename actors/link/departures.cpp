#include "link/engine.hpp"

namespace shoal::link {

using namespace shoal::protocol;

namespace {
constexpr std::size_t max_waiting_control = 1024;
}

void engine::deliver(parcel next) {
  auto found = peers_.find(next.to);
  if (found == peers_.end()) return counters_.dropped(drop::peer_gone);
  auto& to = *found->second;
  if (next.transfer == 0)
    return post(to, {std::move(next.whole.head), std::move(next.whole.tensors), true, next.bytes});
  to.outgoing.add(next.transfer, next.bytes, std::move(next.whole));
  flush(to);
}

void engine::answer(peer& to, message body) {
  auto whole = encode(self_.epoch, body);
  if (whole) post(to, {std::move(whole->head), std::move(whole->tensors)});
}

void engine::say(peer& to, const control& body) { post(to, {encode(self_.epoch, body), {}}); }

void engine::post(peer& to, peer::letter what) {
  if (!to.waiting.empty() || put(to, what.head, what.tensors) == sent::full) {
    // Messages of `send` are bounded there; this bounds what the link itself has to say to someone who does not read.
    if (!what.queued && to.waiting.size() >= options_.max_queued_messages + max_waiting_control)
      losses_.emplace_back(to.id, error{errc::overloaded, "it does not read what is sent to it"});
    else
      to.waiting.push_back(std::move(what));
    behind_.insert(to.id);
    return;
  }
  if (!what.queued) return;
  outbox_.written(*to.ledger, what.bytes);
  add(counters_.all.messages_out);
  add(to.ledger->flow.messages_out);
}

void engine::flush(peer& to) {
  while (!to.waiting.empty()) {
    auto& next = to.waiting.front();
    if (put(to, next.head, next.tensors) == sent::full) return;
    if (next.queued) {
      outbox_.written(*to.ledger, next.bytes);
      add(counters_.all.messages_out);
      add(to.ledger->flow.messages_out);
    }
    to.waiting.pop_front();
  }
  while (auto step = to.outgoing.next()) {
    const auto result = step->head != nullptr
                            ? put(to, *step->head, {})
                            : put(to, encode(self_.epoch, control(step->part)), std::span(&step->part.bytes, 1));
    if (result == sent::full) {
      behind_.insert(to.id);
      return;
    }
    const auto finished = to.outgoing.written();
    if (!finished) continue;
    outbox_.written(*to.ledger, *finished);
    add(counters_.all.messages_out);
    add(to.ledger->flow.messages_out);
  }
  behind_.erase(to.id);
}

void engine::refuse(line& to, std::string_view route, error reason) {
  add(counters_.refused_in);
  outgoing_.clear();
  outgoing_.emplace_back(std::as_bytes(std::span(route)));
  outgoing_.emplace_back(encode(self_.epoch, control(refused{std::move(reason)})));
  put(to);  // whoever does not read it has it counted all the same
}

sent engine::put(peer& to, std::span<const std::byte> head, std::span<const buffer> tensors) {
  outgoing_.clear();
  if (to.dialed == nullptr) outgoing_.emplace_back(std::as_bytes(std::span(to.route)));
  std::uint64_t bytes = 0;
  for (const auto& each : tensors) bytes += each.size();
  // Within a process frames are handed over as they are.
  if (to.takes_tails && bytes > 0 && bytes <= tail_size && !to.local) {
    outgoing_.emplace_back(head, tensors);
  } else {
    outgoing_.emplace_back(head);
    for (const auto& each : tensors) outgoing_.push_back(frame::lend(each, to.local ? nullptr : to.ledger->held));
  }
  bytes += head.size();
  const auto result = put(*to.wire);
  if (result == sent::yes) {
    to.spoken_to = true;
    add(counters_.all.bytes_out, bytes);
    add(to.ledger->flow.bytes_out, bytes);
  } else if (result == sent::gone) {
    counters_.dropped(drop::peer_gone);
    losses_.emplace_back(to.id, error{errc::unavailable, "its connection was closed"});
  }
  return result;
}

/// Writes `outgoing_`.
sent engine::put(line& to) {
  auto result = to.talk.send(outgoing_);
  if (result == sent::full) {
    // ZeroMQ may have been told of room and not have looked yet; and looking may bring messages to light.
    const bool message = to.talk.has_message();
    result = to.talk.send(outgoing_);
    to.may_have_more = to.may_have_more || message;
  }
  // Sending may have taken in the signal that a message is there: look before waiting.
  if (result == sent::yes) to.may_have_more = true;
  outgoing_.clear();
  return result;
}

}  // namespace shoal::link
