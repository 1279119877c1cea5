// The requests that wait for one version of one model, in order of arrival, and the batch that can be formed of them.
//
// Owned by scheduler_state. Bounded by its owner. Requests that came back (a dead worker's, late members of a batch) go
// to the front.
#pragma once

#include <list>
#include <vector>

#include "core/clock.hpp"
#include "protocol/join.hpp"
#include "protocol/messages.hpp"

namespace shoal::scheduler {

struct waiting {
  protocol::request_key key;
  protocol::infer request;
  protocol::join_profile profile;
  time_point arrived;
  time_point deadline;
  bool alone = false;  ///< its last batch died with its worker: it runs alone from now on
};

/// What a batch holds so far: enough to say whether a request may join.
struct batch_shape {
  protocol::join_profile profile;  ///< of its first member
  std::size_t members = 0;
  std::int64_t rows = 0;
  std::int64_t longest = 0;  ///< of the pad symbol
  std::int64_t tokens = 0;   ///< rows times length, unpadded
  bool closed = false;       ///< its member runs alone

  void add(const waiting& member);
};

struct batch_limits {
  std::int64_t rows = 32;
  /// The largest part of rows times length that may be padding.
  double padding = 0.25;
  std::size_t members = 1024;  ///< what one message of the link can carry
};

bool fits(const batch_shape& batch, const waiting& candidate, const batch_limits& limits);

class model_queue {
 public:
  using iterator = std::list<waiting>::iterator;

  iterator push_back(waiting request) { return requests_.insert(requests_.end(), std::move(request)); }
  iterator push_front(waiting request) { return requests_.insert(requests_.begin(), std::move(request)); }
  waiting take(iterator at);

  [[nodiscard]] bool empty() const { return requests_.empty(); }
  [[nodiscard]] std::size_t size() const { return requests_.size(); }
  [[nodiscard]] const waiting& oldest() const { return requests_.front(); }

  /// Takes the requests that may join `batch`, oldest first, and adds them to its shape. An empty batch gets the oldest
  /// request in any case. At most `search` requests are looked at.
  std::vector<waiting> take_for(batch_shape& batch, const batch_limits& limits, std::size_t search = 256);

 private:
  std::list<waiting> requests_;
};

}  // namespace shoal::scheduler
