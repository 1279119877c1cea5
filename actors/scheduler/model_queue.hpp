// The requests that wait for one version of one model, and the batch that can be formed of them.
//
// Owned by scheduler_state. Bounded by its owner. Who is next: requests that came back (a dead worker's, late members
// of a batch), in their order; then critical, standard, batch, and within a class the earliest deadline first (Liu and
// Layland, 1973), equal ones in order of arrival. So that none starves, one batch in `turn_of_the_old` is begun with
// the oldest request of a lower class, if that has waited for `patience` and others were before it. Apart from all
// these are those that are held: suspects (losses.cpp), which are nobody's turn until they are let go.
//
// With whom: a batch is begun with whoever is next and filled with those of the nearest length, as long as little of it
// is padding and all of it is done, as the profile predicts, by the deadlines that can be met.
#pragma once

#include <array>
#include <limits>
#include <list>
#include <optional>
#include <set>
#include <vector>

#include "core/clock.hpp"
#include "protocol/join.hpp"
#include "protocol/messages.hpp"
#include "scheduler/latency_profile.hpp"

namespace shoal::scheduler {

struct waiting {
  protocol::request_key key;
  protocol::infer request;
  protocol::join_profile profile;
  time_point arrived;
  time_point deadline;
  bool alone = false;    ///< a suspect: its last batch died with its worker, and it runs alone from now on
  microseconds cost{};   ///< of a worker's time, as predicted when it came; zero: not known
  time_point predicted;  ///< end, as predicted when it came; the epoch: it was not

  bool returned = false;  ///< the queue's own, as are:
  bool held = false;
  time_point held_until;
  std::uint64_t order = 0;  ///< of arrival
};

/// What a batch holds so far: enough to say whether a request may join.
struct batch_shape {
  protocol::join_profile profile;  ///< of its first member
  std::size_t members = 0;
  std::int64_t rows = 0;
  std::int64_t longest = 0;                 ///< of the pad symbol
  std::int64_t tokens = 0;                  ///< rows times length, unpadded
  bool closed = false;                      ///< its member runs alone
  bool makes_way = true;                    ///< for critical requests; not if it was begun as the turn of an old one
  time_point tightest = time_point::max();  ///< deadline of its members, of those that can be met
  int rank = 0;                             ///< of its most urgent member

  void add(const waiting& member);
  [[nodiscard]] batch_size size() const { return {rows, longest}; }
};

struct batch_limits {
  std::int64_t rows = 32;
  /// The largest part of rows times length that may be padding.
  double padding = 0.25;
  std::size_t members = 1024;                               ///< what one message of the link can carry
  double tokens = std::numeric_limits<double>::infinity();  ///< padded; beyond, a larger batch wins next to nothing
  /// How long a batch takes, and when it would start; null: not known, and then deadlines do not bound it.
  const latency_profile* profile = nullptr;
  time_point start;
};

bool fits(const batch_shape& batch, const waiting& candidate, const batch_limits& limits);

/// Which of two queues has the more urgent request: the smaller one.
struct urgency {
  int rank = 0;  ///< 0: came back; then the classes
  time_point deadline;
  auto operator<=>(const urgency&) const = default;
};

class model_queue {
 public:
  using iterator = std::list<waiting>::iterator;
  static constexpr unsigned turn_of_the_old = 8;
  static constexpr milliseconds patience{1000};
  static constexpr std::size_t all = std::numeric_limits<std::size_t>::max();

  iterator push_back(waiting request);
  /// Its worker died, or it came too late for its batch: it goes in front of all.
  iterator push_front(waiting request);
  /// Others have taken its place in a batch: it goes where it was.
  iterator put_back(waiting request);
  waiting take(iterator at);

  /// A suspect: before those that are held already, not in the queue until it is let go.
  iterator hold(waiting request, time_point until);
  [[nodiscard]] bool holds() const { return !held_.empty(); }
  [[nodiscard]] std::size_t held() const { return held_.size(); }
  /// When the first of them is due. One is held.
  [[nodiscard]] time_point held_until() const;
  /// To the front of all: those that are due, and behind them `others` more, both in order.
  void let_go(time_point now, std::size_t others);
  /// Suspects that are in the queue.
  [[nodiscard]] std::size_t suspects() const;

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// The most urgent request. The queue is not empty.
  [[nodiscard]] iterator next();
  [[nodiscard]] const waiting& front() const;
  [[nodiscard]] urgency most_urgent() const;
  /// When the longest waiting request arrived. The queue is not empty.
  [[nodiscard]] time_point oldest_arrival() const;

  /// Workers' time that waits here in requests which go before one of this class and deadline; `whole_class`: with all
  /// of that class, which costs nothing to say, and is at least as much.
  [[nodiscard]] microseconds ahead_of(int rank, time_point deadline, bool whole_class) const;

  /// Takes the requests that may join `batch` and adds them to its shape. An empty batch gets the most urgent one in
  /// any case. Of the `search` most urgent ones, those join that are nearest in length.
  std::vector<waiting> take_for(batch_shape& batch, const batch_limits& limits, time_point now,
                                std::size_t search = 256);

 private:
  struct sooner {
    bool operator()(const iterator& a, const iterator& b) const {
      return std::pair(a->deadline, a->order) < std::pair(b->deadline, b->order);
    }
  };
  struct level {
    std::list<waiting> requests;  ///< in order of arrival
    std::set<iterator, sooner> by_deadline;
    microseconds cost{};
  };
  static constexpr std::size_t levels = 3;
  level& level_of(const waiting& request);
  /// Whose turn it is though others are more urgent.
  std::optional<iterator> old_one(time_point now);

  /// At most `search` that might join, the most urgent first.
  std::vector<iterator> candidates(const batch_shape& batch, std::size_t search);

  std::list<waiting> returned_, held_;
  microseconds returned_cost_{};      ///< of those that came back, not of those that are held
  std::array<level, levels> levels_;  ///< critical, standard, batch
  std::size_t size_ = 0;
  std::uint64_t next_order_ = 0;
  unsigned turns_ = 0;  ///< since an old one had its own
};

}  // namespace shoal::scheduler
