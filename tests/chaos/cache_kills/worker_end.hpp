// A worker as the cache knows one: gives objects, asks for them, maps what it is told lies in memory.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "link/zmq_link.hpp"

namespace shoal::chaos {

class worker_end {
 public:
  explicit worker_end(const std::string& cache);

  /// Waits until a cache is connected, as long as `while_true`.
  bool wait_for_cache(const std::function<bool()>& while_true);
  /// False: it is not connected any more.
  bool store(std::uint64_t id, const protocol::object_key& key, buffer bytes);
  /// The answers so far, and none twice: id and whether it was acknowledged.
  std::map<std::uint64_t, expected<void>> take_stored();
  /// Waits for an answer to every store of this life; false: the cache was lost before.
  bool wait_for_stored();
  /// Leases; absent: the cache was lost.
  std::optional<std::vector<protocol::leased::object>> acquire(std::vector<protocol::object_key> keys, bool verify);
  void release(std::vector<protocol::object_key> keys);
  /// Until the loss of the cache was told, after its last messages.
  void wait_for_loss();

 private:
  void on(protocol::link_event event);

  link::zmq_link link_;
  std::mutex mutex_;
  std::condition_variable changed_;
  protocol::peer_id cache_ = 0;  ///< 0: none
  std::map<std::uint64_t, expected<void>> stored_;
  std::size_t waiting_ = 0;  ///< stores without an answer
  std::optional<protocol::leased> leased_;
  std::uint64_t next_ = 1;
};

}  // namespace shoal::chaos
