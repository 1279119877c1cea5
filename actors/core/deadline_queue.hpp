// Deadlines of many things, the earliest first. Removal is lazy: finishing a request costs nothing here, its entry goes
// when its time comes, and the owner asks whether the key still lives. Because finished requests with far deadlines
// would pile up, the owner calls `prune` as it adds: the queue stays within about twice what lives. Owned by one actor.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "core/clock.hpp"

namespace shoal {

template <class Key>
class deadline_queue {
 public:
  void add(time_point when, Key key) {
    heap_.push_back({when, std::move(key)});
    std::push_heap(heap_.begin(), heap_.end());
  }

  /// When the next entry is due; nothing if there is none.
  [[nodiscard]] std::optional<time_point> next() const {
    if (heap_.empty()) return std::nullopt;
    return heap_.front().when;
  }

  /// Takes one entry that is due at `now`, or nothing.
  std::optional<Key> pop_due(time_point now) {
    if (heap_.empty() || heap_.front().when > now) return std::nullopt;
    std::pop_heap(heap_.begin(), heap_.end());
    auto key = std::move(heap_.back().key);
    heap_.pop_back();
    return key;
  }

  /// Drops the entries whose key does not live (`lives(key)`) once they outnumber the `living` ones by far; constant
  /// time per `add` on average.
  template <class Lives>
  void prune(std::size_t living, Lives&& lives) {
    if (heap_.size() <= 2 * living + 64) return;
    std::erase_if(heap_, [&](const entry& e) { return !lives(e.key); });
    std::make_heap(heap_.begin(), heap_.end());
  }

  [[nodiscard]] std::size_t size() const { return heap_.size(); }

 private:
  struct entry {
    time_point when;
    Key key;
    bool operator<(const entry& other) const { return when > other.when; }
  };
  std::vector<entry> heap_;
};

}  // namespace shoal
