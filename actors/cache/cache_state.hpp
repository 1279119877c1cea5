// The cache's mind: which objects lie on its disk and in the host's memory tier, who has them leased, what is filled,
// kept and evicted. Hands everything that blocks to the storage actor and never touches a file itself.
//
// Owned by the cache's actor. Memory holds at most `memory_budget` bytes of the objects this instance owns (rendezvous
// hash over the names of the instances that live on the host); room is made by removing the least recently used that
// nobody has leased, and where that is not enough an object stays below: its worker reads the archive instead. A lease
// ends when it is released or its worker's connection is lost. Leases are not kept: after a restart workers tell what
// they have mapped, and until then a file that is removed stays valid for who has it mapped.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "core/clock.hpp"
#include "core/metrics.hpp"
#include "protocol/actors.hpp"
#include "protocol/link.hpp"

namespace shoal::cache {

struct cache_options {
  protocol::instance_id instance = 0;
  std::uint64_t name = 0;  ///< what rendezvous counts; the same over restarts
  bool has_disk = true;
  std::uint64_t memory_budget = 1ull << 30;     ///< bytes of files
  std::uint64_t waiting_budget = 512ull << 20;  ///< bytes of objects that wait to be kept
  milliseconds report_interval{1000};
  milliseconds member_interval{1000};
};

class cache_state {
 public:
  using object_key = protocol::object_key;
  using known = std::vector<std::pair<object_key, std::uint64_t>>;

  struct port {
    std::function<void(protocol::object_job)> run;        ///< answered with `on(object_done)`, in order
    std::function<std::vector<std::uint64_t>()> members;  ///< names of the instances that live, ours included
  };

  /// `adopted` as storage::adopt gave it.
  cache_state(cache_options options, protocol::link& link, port storage, metrics& figures, const known& on_disk,
              const protocol::object_done& adopted);

  void on(protocol::link_event& event, time_point now);
  void on(protocol::object_done& done, time_point now);
  void on_wake(time_point now);
  [[nodiscard]] std::optional<time_point> next_wake() const;

 private:
  using peer_id = protocol::peer_id;
  using kind = protocol::object_job::kind;

  struct waiter {
    std::uint64_t ticket;  ///< of an acquire under way
    std::size_t index;     ///< in its answer
  };
  struct object {
    std::uint64_t size = 0;
    bool on_disk = false;
    bool in_memory = false;
    bool counted = false;  ///< takes room of our budget
    bool at_work = false;  ///< a job on it is under way
    std::size_t leases = 0;
    std::optional<std::list<object_key>::iterator> idle;  ///< its place among those that may be evicted
    std::vector<waiter> waiters;
    std::vector<std::pair<peer_id, std::uint64_t>> keepers;  ///< to be told `stored`: peer and id
  };
  using objects = std::unordered_map<object_key, object, protocol::object_key_hash>;
  struct acquisition {
    peer_id peer = 0;
    protocol::leased answer;
    std::size_t missing = 0;
  };

  void on_peer(const protocol::peer_up& up, time_point now);
  void on_peer(const protocol::peer_down& down, time_point now);
  void on_message(peer_id from, const protocol::acquire& wanted, time_point now);
  void on_message(peer_id from, protocol::store& offered, time_point now);
  void on_message(peer_id from, const protocol::release& over, time_point now);
  template <class Other>
  void on_message(peer_id, const Other&, time_point) {
    unexpected_.Increment();
  }

  void find(const object_key& key, waiter who, bool verify);
  void begin(const object_key& key, object& entry, kind what);
  void resolve(const object_key& key, object& entry);
  void answer(const waiter& who, const object_key& key, protocol::object_state state, std::uint64_t size);
  void finish(std::uint64_t ticket);
  void keep_next();
  void tell_keepers(object& entry, const expected<void>& result);
  void merge(const protocol::object_done::object& result, kind what);
  void adopt(const object_key& key, std::uint64_t size);
  void lease(peer_id peer, const object_key& key, object& entry);
  void unlease(const object_key& key);
  bool make_room(std::uint64_t size);
  void take_room(object& entry);
  void give_room(object& entry);
  void make_idle(const object_key& key, object& entry);
  void make_busy(object& entry);
  void forget_if_nowhere(const object_key& key);
  void look_at_members();
  [[nodiscard]] bool owns(const object_key& key) const;
  void publish();
  void send_report();

  cache_options options_;
  protocol::link& link_;
  port storage_;
  metrics& figures_;

  objects objects_;
  std::list<object_key> idle_;  ///< in memory, ours, unleased; least recently used first
  std::uint64_t memory_used_ = 0;
  std::uint64_t disk_used_ = 0;
  std::size_t leases_ = 0;
  std::vector<std::uint64_t> members_;
  std::map<peer_id, std::set<object_key>> workers_;  ///< what each has leased
  std::set<peer_id> schedulers_;
  std::unordered_map<std::uint64_t, acquisition> acquisitions_;
  std::uint64_t next_ticket_ = 1;
  std::vector<protocol::object_job::object> to_keep_;
  std::uint64_t waiting_bytes_ = 0;
  bool keeping_ = false;
  std::optional<time_point> report_at_;
  std::optional<time_point> members_at_;

  prometheus::Counter& hits_;
  prometheus::Counter& fills_;
  prometheus::Counter& misses_;
  prometheus::Counter& unfilled_;
  prometheus::Counter& evictions_;
  prometheus::Counter& quarantined_;
  prometheus::Counter& adopted_;
  prometheus::Counter& stored_;
  prometheus::Counter& duplicates_;
  prometheus::Counter& refused_;
  prometheus::Counter& unexpected_;
  prometheus::Gauge& objects_gauge_;
  prometheus::Gauge& memory_objects_;
  prometheus::Gauge& memory_bytes_;
  prometheus::Gauge& disk_bytes_;
  prometheus::Gauge& leases_gauge_;
  prometheus::Gauge& members_gauge_;
};

}  // namespace shoal::cache
