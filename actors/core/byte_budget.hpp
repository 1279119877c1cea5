// A bound on the bytes that strangers may make a server hold, shared by all that it has received.
#pragma once

#include <atomic>
#include <cstddef>

namespace shoal {

/// Bytes that may be held at a time. Shared by threads: what was received is released anywhere.
class byte_budget {
 public:
  explicit byte_budget(std::size_t limit) : limit_(limit) {}
  /// False, and nothing is taken, if they are more than what is left.
  bool take(std::size_t bytes) noexcept {
    auto used = used_.load(std::memory_order_relaxed);
    do {
      if (bytes > limit_ || used > limit_ - bytes) return false;
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
  }
  void give(std::size_t bytes) noexcept { used_.fetch_sub(bytes, std::memory_order_relaxed); }
  [[nodiscard]] std::size_t used() const noexcept { return used_.load(std::memory_order_relaxed); }

 private:
  const std::size_t limit_;
  std::atomic<std::size_t> used_{0};
};

}  // namespace shoal
