// The workers of a scheduler: what each has to do, which of them has room and how soon, and which is not to be trusted
// with work for now. Answers in time that does not grow with their number (but for its logarithm).
//
// Slow or failing workers are ejected as Envoy does it (outlier detection,
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier): after `in_a_row` bad batches for
// `first`, doubling each time; then half open: one batch decides. A worker is slow when its pace (the mean of
// measured over predicted time) is `slower` times that of the others of its device. Never so many that a model is left
// with less than half of its workers. Owned by scheduler_state.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/container/small_vector.hpp>

#include "core/clock.hpp"
#include "core/timeout_estimate.hpp"
#include "protocol/link.hpp"
#include "scheduler/latency_profile.hpp"
#include "scheduler/time_share.hpp"

namespace shoal::scheduler {

struct worker;

/// The workers that have one model ready.
class pool {
 public:
  struct candidate {
    scheduler::worker* worker = nullptr;
    time_point free_at;
    bool idle = false;
  };

  /// Of the workers that have room: the one that would be done with `one` first, as predicted. Of equals the one that
  /// was given work last, whose caches are warm.
  [[nodiscard]] std::optional<candidate> soonest(batch_size one, time_point now) const;
  [[nodiscard]] bool has_idle(time_point now) const;
  /// Those that are given work.
  [[nodiscard]] std::size_t workers() const { return workers_; }
  /// Workers that this scheduler has when it wants them: of all that are given work, and those that it has lost and
  /// that should be back about now (fleet::remove), the part of their time it got of late.
  [[nodiscard]] double capacity(time_point now) const;
  /// Workers that it has lost and that should be back about now (fleet::remove), at most as many as are left.
  [[nodiscard]] double expected_back(time_point now) const;
  /// When the last of them should be; nothing: none is missing.
  [[nodiscard]] std::optional<time_point> back_by() const;
  /// One that may have a place for us beyond those we have: of a few, in turn, whoever would be free first; null: none,
  /// or all of them have been asked already with this urgency.
  [[nodiscard]] scheduler::worker* to_ask(int rank);
  /// Time that these workers need for what they have of this scheduler, all together.
  [[nodiscard]] microseconds backlog(time_point now) const;
  /// Of the device most of them are of; null: there are none.
  [[nodiscard]] latency_profile* usual_profile() const;
  [[nodiscard]] bool has(const scheduler::worker& worker) const;
  /// Of this worker's device; null: it is not one of these workers.
  [[nodiscard]] latency_profile* profile_of(const scheduler::worker& worker) const;

 private:
  friend class fleet;
  struct kind {
    std::string device;
    latency_profile* profile = nullptr;
    std::size_t workers = 0;
    struct entry {
      time_point free_at;
      std::uint64_t turn = 0;
      protocol::peer_id peer = 0;
      scheduler::worker* worker = nullptr;
      auto operator<=>(const entry& other) const {
        if (free_at != other.free_at) return free_at <=> other.free_at;
        if (turn != other.turn) return other.turn <=> turn;
        return peer <=> other.peer;
      }
      bool operator==(const entry& other) const { return *this <=> other == 0; }
      [[nodiscard]] bool is_idle(time_point now) const;
    };
    std::set<entry> with_room;
  };
  [[nodiscard]] std::vector<kind>::iterator find(const std::string& device);

  std::vector<kind> kinds_;  ///< by device
  std::size_t workers_ = 0, listed_ = 0, busy_ = 0, places_ = 0;
  std::vector<scheduler::worker*> members_;
  std::size_t next_to_ask_ = 0;
  time_share share_;
  std::vector<time_point> back_by_;  ///< when those that were lost should be back
  /// Of the busy ones; the first since the clock's epoch, and in microseconds, so that many thousands add up.
  microseconds free_at_sum_{}, staged_sum_{};
};

/// A worker as its scheduler sees it.
struct worker {
  template <class Id>
  using few = boost::container::small_vector<Id, 4>;  ///< in place: looked at for every batch

  protocol::peer_id peer = 0;
  protocol::instance_id instance = 0;
  few<protocol::offer_id> offers;               ///< places leased to us; one is as good as another
  few<protocol::batch_id> batches;              ///< the running one first, then the staged one
  time_point free_at;                           ///< predicted end of the running one
  microseconds staged{};                        ///< predicted time of the staged ones
  double pace = 1;                              ///< mean of measured / predicted, the latest weighing most
  bool is_full = false;                         ///< too much waits to be written to it
  bool leases = false;                          ///< it speaks of leases and takes recalls (protocol 3)
  int asked = 0;                                ///< rank with which it was asked for a place; 0: it owes no answer
  time_point others_until = time_point::min();  ///< predicted end of what other schedulers have there
  std::optional<time_point> kept_since;         ///< its last batch of ours ended, and something waited for it since
  std::string device;
  std::set<std::pair<std::string, std::uint64_t>> models;  ///< ready there
  std::set<std::pair<std::string, std::uint64_t>> listed;  ///< in its catalogue, in whatever state
  protocol::report report;

  [[nodiscard]] std::size_t places() const { return offers.size() + batches.size(); }
  /// When what it has now is done, as predicted.
  [[nodiscard]] time_point free_from() const { return batches.empty() ? others_until : free_at; }
  /// What it says of other schedulers' batches.
  void hear_of_others(protocol::microseconds busy, time_point now) {
    others_until = busy.count() > 0 ? now + busy : time_point::min();
  }
  void forget(protocol::batch_id batch) {
    batches.erase(std::remove(batches.begin(), batches.end(), batch), batches.end());
  }

 private:
  friend class fleet;
  friend class pool;
  struct indexed {
    bool counted = false, room = false, busy = false;
    time_point free_at = time_point::min();
    microseconds staged{};
    std::uint64_t turn = 0;
    std::size_t places = 0;
    bool operator==(const indexed&) const = default;
  };
  std::vector<pool*> pools;
  indexed as;
  std::uint64_t turn = 0;
  std::uint64_t judged = 0;
  unsigned bad_in_a_row = 0;
  unsigned ejections = 0;
  std::optional<time_point> ejected_until;
  bool on_trial = false;
};

struct outlier_rules {
  unsigned in_a_row = 5;
  double slower = 3;
  milliseconds first{5000};
  milliseconds longest{300000};
};

class fleet {
 public:
  explicit fleet(outlier_rules rules = {}) : rules_(rules) {}

  worker& add(const protocol::peer_up& up);
  worker* find(protocol::peer_id peer);
  /// It leaves every pool, and is expected back there within the time that others needed for it.
  std::optional<worker> remove(protocol::peer_id peer, time_point now);
  [[nodiscard]] const std::unordered_map<protocol::peer_id, worker>& all() const { return workers_; }
  [[nodiscard]] std::size_t size() const { return workers_.size(); }

  /// The pools of the models that it has ready, with the profile of its device in each.
  void place(worker& worker, const std::vector<std::pair<pool*, latency_profile*>>& pools, time_point now);
  /// To be called after every change of offers, batches, free_at or staged.
  void update(worker& worker);
  /// It has a place, is not ejected, and not busy with the batch that it is on trial with.
  [[nodiscard]] static bool may_work(const worker& worker) { return worker.as.room; }
  [[nodiscard]] static bool is_ejected(const worker& worker) { return worker.ejected_until.has_value(); }
  /// Predicted ends that are past are taken to be now, so that one worker that hangs hides no other's work.
  void mark_overdue(time_point now);
  void write_again();
  /// Of the time `of`, while which it was wanted, this scheduler got so much.
  void note_share(worker& worker, steady::duration got, steady::duration of, time_point now);
  void was_given_work(worker& worker) { worker.turn = ++turns_; }

  /// A batch of it is over: how long it took against what the profile said (nothing: unknown), and whether all of it
  /// failed by the worker's fault. True: it has just been ejected.
  bool judge(worker& worker, std::optional<double> ratio, bool failed, time_point now);
  /// Ejected ones whose time is over are tried again; these.
  std::vector<protocol::peer_id> readmit(time_point now);
  [[nodiscard]] std::optional<time_point> next_readmission() const;

 private:
  struct paces {
    double sum = 0;
    std::size_t count = 0;
  };
  [[nodiscard]] bool may_eject(const worker& worker) const;
  void leave(worker& worker);
  void note_return(time_point now);
  void become(worker& worker, const worker::indexed& next);
  /// If a model has less than half of its workers, those that are ejected are to be tried again now.
  void call_back(const pool& left);

  outlier_rules rules_;
  std::unordered_map<protocol::peer_id, worker> workers_;
  std::map<std::string, paces> paces_;  ///< of the workers of a device that have been judged
  std::map<protocol::peer_id, time_point> ejected_;
  std::uint64_t turns_ = 0;
  std::deque<time_point> losses_;     ///< without a return yet
  timeout_estimate returns_{1, 0.5};  ///< from a loss until a worker serves in its place
};

}  // namespace shoal::scheduler
