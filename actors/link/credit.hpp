// Requests in flight towards one peer, against what that peer granted: messages, and bytes of their tensors with room
// for the reply. Kept on both sides of a connection; no thread of its own, its owner locks.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "protocol/messages.hpp"

namespace shoal::link {

class credit_book {
 public:
  credit_book(std::uint64_t messages, std::uint64_t bytes) : max_messages_(messages), max_bytes_(bytes) {}

  /// False: no room. A request alone always has room, so that one larger than the bytes granted is not stuck for ever.
  bool take(protocol::request_id id, std::uint64_t bytes) {
    if (messages_ >= max_messages_) return false;
    if (messages_ > 0 && (bytes > max_bytes_ || bytes_ > max_bytes_ - bytes)) return false;
    auto& entry = entries_[id];
    entry.messages += 1;
    entry.bytes += bytes;
    messages_ += 1;
    bytes_ += bytes;
    return true;
  }

  /// Everything taken for `id`; unknown ids are ignored.
  void give_back(protocol::request_id id) {
    auto entry = entries_.find(id);
    if (entry == entries_.end()) return;
    messages_ -= entry->second.messages;
    bytes_ -= entry->second.bytes;
    entries_.erase(entry);
  }

  [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  struct taken {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
  };
  std::uint64_t max_messages_;
  std::uint64_t max_bytes_;
  std::uint64_t messages_ = 0;
  std::uint64_t bytes_ = 0;
  std::unordered_map<protocol::request_id, taken> entries_;
};

}  // namespace shoal::link
