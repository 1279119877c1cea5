// The worker's side of the cache: asks the caches of its host for objects, maps their files, and gives leases back.
//
// Shared by the worker's actor, which hands it the events of caches on the link's thread (never blocking there), and
// the thread that loads models, which waits in `acquire`; everything is behind one lock. Each object is asked for at
// the cache that owns it (rendezvous hash over the names the caches told). A cache that is away, slow, or hands out a
// file that does not verify costs time only: the caller has its archive. When a cache is back, what is mapped is leased
// anew.
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "core/clock.hpp"
#include "core/metrics.hpp"
#include "executor/object_source.hpp"
#include "protocol/link.hpp"

namespace shoal::worker {

struct cache_client_options {
  std::filesystem::path memory;        ///< the host's memory tier as this process sees it
  std::size_t caches = 0;              ///< addresses configured: that many are waited for at the first use
  milliseconds patience{2000};         ///< for one `acquire` or `settle`
  std::uint64_t window = 64ull << 20;  ///< bytes on their way to caches at a time
};

class cache_client final : public executor::object_source, public std::enable_shared_from_this<cache_client> {
 public:
  /// `link` and `figures` must outlive the client's last use by the worker; buffers may outlive both (see `stop`).
  static std::shared_ptr<cache_client> make(cache_client_options options, protocol::link& link, metrics& figures);

  std::vector<found> acquire(std::span<const protocol::object_key> keys) override;
  void publish(const protocol::object_key& key, buffer bytes, const protocol::object_key& source,
               std::string_view layout) override;
  void settle() override;

  /// True: the event was about a cache and is done with. On the link's thread.
  bool on(protocol::link_event& event);

  /// Nothing is sent any more: the link is about to go.
  void stop();

 private:
  using object_key = protocol::object_key;
  using peer_id = protocol::peer_id;

  struct question {
    peer_id peer = 0;
    std::optional<std::vector<protocol::leased::object>> answer;
    bool is_lost = false;
  };
  struct offer {
    protocol::store body;
    std::uint64_t bytes = 0;
  };

  cache_client(cache_client_options options, protocol::link& link, metrics& figures);

  /// What each key's cache says; absent where none could be asked. Takes and gives up the lock.
  std::vector<protocol::leased::object> ask(std::unique_lock<std::mutex>& lock, std::span<const object_key> keys,
                                            bool verify, time_point until);
  void wait_for_caches(std::unique_lock<std::mutex>& lock, time_point until);
  buffer held(const object_key& key, buffer mapped);
  void unhold(const object_key& key);
  void give_back_unheld(peer_id cache, const std::vector<protocol::leased::object>& objects);
  void send_offers();
  void come(const protocol::peer_up& up);
  [[nodiscard]] peer_id owner_of(const object_key& key) const;

  cache_client_options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  protocol::link* link_;
  std::map<peer_id, std::uint64_t> caches_;  ///< their names
  std::map<std::uint64_t, question> questions_;
  std::unordered_map<object_key, std::size_t, protocol::object_key_hash> holds_;  ///< references to what is leased
  std::deque<offer> offers_;
  std::map<std::uint64_t, std::pair<peer_id, std::uint64_t>> under_way_;  ///< offer -> its cache, its bytes
  std::uint64_t bytes_under_way_ = 0;
  std::uint64_t next_id_ = 1;
  bool has_waited_ = false;

  prometheus::Counter& mapped_;
  prometheus::Counter& absent_;
  prometheus::Counter& fallbacks_;
  prometheus::Counter& published_;
  prometheus::Counter& unpublished_;
  prometheus::Gauge& mapped_bytes_;
  prometheus::Gauge& acquire_seconds_;
};

}  // namespace shoal::worker
