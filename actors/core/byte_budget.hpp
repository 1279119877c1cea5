// A bound on the bytes that strangers may make a server hold, shared by all that it has received.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

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

/// Bytes taken from a budget, and given back in the end.
class taken_bytes {
 public:
  taken_bytes() = default;
  taken_bytes(taken_bytes&& other) noexcept : from_(std::move(other.from_)), bytes_(std::exchange(other.bytes_, 0)) {}
  taken_bytes& operator=(taken_bytes&& other) noexcept {
    std::swap(from_, other.from_);
    std::swap(bytes_, other.bytes_);
    other.give_back();
    return *this;
  }
  ~taken_bytes() { give_back(); }

  /// Nothing if they are more than what is left.
  static std::optional<taken_bytes> take(std::shared_ptr<byte_budget> from, std::size_t bytes) {
    if (!from->take(bytes)) return std::nullopt;
    taken_bytes taken;
    taken.from_ = std::move(from);
    taken.bytes_ = bytes;
    return taken;
  }
  void give_back() noexcept {
    if (auto from = std::exchange(from_, nullptr)) from->give(std::exchange(bytes_, 0));
  }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }

 private:
  std::shared_ptr<byte_budget> from_;
  std::size_t bytes_ = 0;
};

}  // namespace shoal
