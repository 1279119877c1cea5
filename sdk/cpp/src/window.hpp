// What may be in flight at once: requests, and bytes of their inputs. Any thread takes and gives back; a request alone
// always has room, so that one larger than the window is not stuck for ever.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>

namespace shoal::client::detail {

class window {
 public:
  window(std::uint64_t most, std::uint64_t most_bytes) : most_(most), most_bytes_(most_bytes) {}

  bool try_take(std::uint64_t bytes) {
    std::lock_guard lock(mutex_);
    return take(bytes);
  }

  /// False: no room came by `until`, or `stop` was requested.
  bool take_by(std::uint64_t bytes, std::chrono::steady_clock::time_point until, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (take(bytes)) return true;
    ++waiting_;
    const bool taken = room_.wait_until(lock, stop, until, [&] { return take(bytes); });
    --waiting_;
    return taken;
  }

  void give_back(std::uint64_t bytes) {
    std::unique_lock lock(mutex_);
    --taken_;
    taken_bytes_ -= bytes;
    const bool tell = waiting_ > 0;
    lock.unlock();
    // All: the first one in line may need more bytes than came back, another one less.
    if (tell) room_.notify_all();
  }

 private:
  bool take(std::uint64_t bytes) {
    if (taken_ > 0 && (taken_ >= most_ || bytes > most_bytes_ || taken_bytes_ > most_bytes_ - bytes)) return false;
    ++taken_;
    taken_bytes_ += bytes;
    return true;
  }

  const std::uint64_t most_;
  const std::uint64_t most_bytes_;
  std::mutex mutex_;
  std::condition_variable_any room_;
  std::uint64_t taken_ = 0;
  std::uint64_t taken_bytes_ = 0;
  std::size_t waiting_ = 0;
};

}  // namespace shoal::client::detail
