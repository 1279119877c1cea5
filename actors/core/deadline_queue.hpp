// Deadlines of many things, the earliest first. Removal is lazy: the owner asks `Key` by `Key` whether it still lives,
// so finishing a request costs nothing here, and its entry goes when its time comes. Owned by one actor.
#pragma once

#include <optional>
#include <queue>
#include <vector>

#include "core/clock.hpp"

namespace shoal {

template <class Key>
class deadline_queue {
 public:
  void add(time_point when, Key key) { heap_.push({when, std::move(key)}); }

  /// When the next entry is due; nothing if there is none.
  [[nodiscard]] std::optional<time_point> next() const {
    if (heap_.empty()) return std::nullopt;
    return heap_.top().when;
  }

  /// Takes one entry that is due at `now`, or nothing.
  std::optional<Key> pop_due(time_point now) {
    if (heap_.empty() || heap_.top().when > now) return std::nullopt;
    auto key = heap_.top().key;
    heap_.pop();
    return key;
  }

 private:
  struct entry {
    time_point when;
    Key key;
    bool operator<(const entry& other) const { return when > other.when; }
  };
  std::priority_queue<entry> heap_;
};

}  // namespace shoal
