// The places of a worker, one for the batch that runs and one for the staged one, leased among the schedulers that
// share it (design §2.3). A lease is an offer: it is its holder's until a batch comes against it, or until it is
// withdrawn because another scheduler wants it. So no worker has more batches than places, however many schedulers
// there are, and a scheduler without traffic keeps nothing from the others (leases: Gray and Cheriton, SOSP 1989).
//
// A place that becomes free goes to who wants one: the most urgent class first, of equals the one whose last lease is
// oldest; one in `turn_of_the_old` goes to who has wanted longest, so that no class starves. If nobody wants it, it
// stays with who used it last. Owned by worker_state.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "core/clock.hpp"
#include "protocol/link.hpp"

namespace shoal::worker {

class places {
 public:
  static constexpr unsigned turn_of_the_old = 8;
  /// A lease that was wanted is not withdrawn before: two that wait for the same batch to end would take it from each
  /// other without end.
  static constexpr milliseconds shortest{2};
  /// Where the way to a scheduler and back takes longer than that, every lease would be withdrawn before its batch
  /// comes: it is held for twice as long as batches of late have come after their lease was withdrawn, at most this.
  static constexpr milliseconds longest{100};
  /// Unused for so long, it may go to who has as many places.
  static constexpr milliseconds idle{20};

  explicit places(std::size_t count) : count_(count) {}

  /// `asks`: it speaks a version of the protocol in which leases are wanted and withdrawn. Another keeps what it has,
  /// and is not left without a place.
  void join(protocol::peer_id scheduler, bool asks, time_point now);
  /// Its leases end; its batches have to be vacated yet.
  void leave(protocol::peer_id scheduler);
  /// No further leases.
  void close() { open_ = false; }

  void want(protocol::peer_id scheduler, protocol::priority as, time_point now);
  struct lease {
    protocol::offer_id id = 0;
    protocol::peer_id holder = 0;
    time_point since;
    bool wanted = false;
    time_point busy_until;  ///< the owner's: as the holder was told last
  };
  /// A batch comes against this lease. Nothing: it is not that scheduler's (any more).
  std::optional<lease> occupy(protocol::peer_id scheduler, protocol::offer_id id);
  /// A batch comes against a lease that was withdrawn meanwhile.
  void miss(protocol::offer_id id, time_point now);
  /// A batch of this scheduler is over, or was given back.
  void vacate(protocol::peer_id scheduler);

  struct changes {
    struct lease {
      protocol::peer_id scheduler = 0;
      protocol::offer_id id = 0;
    };
    std::vector<lease> withdrawn, granted;
  };
  /// To be called after any of these, and at `next_change`. Who holds or wants what does not depend on how often.
  changes settle(time_point now);
  [[nodiscard]] std::optional<time_point> next_change() const;

  /// Whether one that wants a place for a critical request finds none: a staged batch may have to make way.
  [[nodiscard]] std::optional<protocol::peer_id> critical_one() const;
  /// At any time, to anybody.
  [[nodiscard]] bool was_leased(protocol::offer_id lease) const { return lease != 0 && lease < next_lease_; }
  [[nodiscard]] bool knows(protocol::peer_id scheduler) const { return schedulers_.contains(scheduler); }
  [[nodiscard]] bool empty() const { return schedulers_.empty(); }
  [[nodiscard]] bool asks(protocol::peer_id scheduler) const;

  [[nodiscard]] std::vector<lease>& leases() { return leases_; }
  template <class Do>
  void each_scheduler(Do&& act) const {
    for (const auto& [peer, known] : schedulers_) act(peer);
  }

 private:
  struct wish {
    protocol::priority as = protocol::priority::standard;
    time_point since;
  };
  struct scheduler {
    bool asks = true;
    std::size_t batches = 0;
    std::uint64_t last_lease = 0;
    std::optional<wish> wants;
  };
  using entry = std::map<protocol::peer_id, scheduler>::value_type;

  [[nodiscard]] std::size_t held_by(const entry& scheduler) const;
  [[nodiscard]] entry* next();
  /// What may be taken from its holder for `wanting`, and from when on.
  [[nodiscard]] std::optional<std::pair<std::size_t, time_point>> takeable(const entry& wanting) const;
  void grant(entry& to, bool wanted, time_point now, changes& made);

  std::size_t count_;
  bool open_ = true;
  std::map<protocol::peer_id, scheduler> schedulers_;
  std::vector<lease> leases_;                                        ///< unused ones
  std::deque<std::pair<protocol::offer_id, time_point>> withdrawn_;  ///< the last ones, and when
  steady::duration hold_ = shortest;
  std::size_t strays_ = 0;  ///< batches of schedulers that have left
  protocol::peer_id last_user_ = 0;
  protocol::offer_id next_lease_ = 1;
  std::uint64_t leased_ = 0;
};

}  // namespace shoal::worker
