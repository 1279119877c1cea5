// The scheduler's mind: which request runs where, with which others, and when.
//
// Owned by the scheduler's actor, which hands in events and the time; reaches workers and gateways only through the
// link's port. Runs unchanged under a virtual clock.
//
// Late batch formation: a worker has places for two batches, one to run and one to stage, which it leases to its
// schedulers (worker/places.hpp); one that has too few for what waits asks for more. A batch is formed when a worker is
// idle, or shortly before it is predicted to be (`stage_ahead`); a staged one grows until it starts, and is recalled
// when a critical request could have its place. Requests of a worker that dies are queued again at the front; those
// that were running then run alone, while other workers go on (losses.cpp), and a request that ends two workers while
// alone is refused as poison (design §2.5).
//
// What waits is bounded, and what measured batch times (latency_profile.hpp) say cannot be done by its deadline is
// refused at once: admission.cpp.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "core/clock.hpp"
#include "core/deadline_queue.hpp"
#include "core/metrics.hpp"
#include "core/retry_budget.hpp"
#include "protocol/link.hpp"
#include "protocol/roll_call.hpp"
#include "scheduler/fleet.hpp"
#include "scheduler/model_queue.hpp"
#include "scheduler/profile_store.hpp"

namespace shoal::scheduler {

struct scheduler_options {
  protocol::instance_id instance = 0;
  std::size_t max_queue = 1024;  ///< requests that wait for one model
  double max_padding = 0.1;      ///< largest part of a padded batch that may be padding
  /// A batch that has grown so far that its fixed cost is no more than this part of its time grows no further: waiting
  /// for a larger one would cost more than it wins. 0: as large as deadlines and the model allow.
  double fixed_share = 0.02;
  milliseconds stage_ahead{2};  ///< before a worker is predicted to be free
  bool predict = true;          ///< refuse what is predicted to be late; false: only what finds the queue full
  milliseconds report_interval{1000};
  /// How long a model stays known, and requests for it wait, after the last worker that listed it was lost.
  milliseconds forget_after{60000};
};

class scheduler_state {
 public:
  /// `profiles`: where measured times are kept; null: nowhere. It must outlive this.
  scheduler_state(scheduler_options options, protocol::link& link, metrics& figures, profile_store* profiles = nullptr);

  ~scheduler_state();  ///< keeps what was measured
  scheduler_state(const scheduler_state&) = delete;
  scheduler_state& operator=(const scheduler_state&) = delete;

  void on(protocol::link_event& event, time_point now);
  void on_wake(time_point now);
  [[nodiscard]] std::optional<time_point> next_wake() const;

  [[nodiscard]] std::size_t queued() const { return queued_; }
  /// Requests in batches that workers have.
  [[nodiscard]] std::size_t in_flight() const { return requests_.size() - queued_; }

 private:
  using peer_id = protocol::peer_id;
  using batch_id = protocol::batch_id;
  using model_key = std::pair<std::string, std::uint64_t>;

  struct model {
    const model_key* key = nullptr;
    std::uint64_t number = 0;  ///< in order of appearance
    protocol::model_spec spec;
    model_queue queue;
    time_point awaited_since;  ///< requests wait
    pool workers;
    microseconds batch_time{};  ///< mean of late
    /// Mean and mean absolute deviation of (measured - predicted end) of requests that had to wait, by class.
    struct lateness {
      double mean = 0, deviation = 0;  ///< us
      double weight = 0;               ///< of what has been noted: decays over a second, or over 16 of them
      time_point as_of;
      void note(microseconds late, time_point now);
    };
    std::array<lateness, 3> late;
    prometheus::Gauge* queued = nullptr;  ///< shown as of the last report
  };
  struct running_batch {
    scheduler::worker* worker = nullptr;
    model_key model;
    std::vector<waiting> members;  ///< as they came, to be queued again if the worker is lost
    batch_shape shape;
    bool started = false;
    bool recalled = false;
    time_point started_at;
    std::optional<microseconds> predicted;  ///< of its time, at its worker's pace; nothing: not known
  };

  void on_peer(const protocol::peer_up& up, time_point now);
  void on_peer(const protocol::peer_down& down, time_point now);
  void on_message(peer_id from, protocol::infer& request, time_point now);
  void on_message(peer_id from, const protocol::cancel& cancel, time_point now);
  void on_message(peer_id from, const protocol::offer& offer, time_point now);
  void on_message(peer_id from, const protocol::withdraw& withdraw, time_point now);
  void on_message(peer_id from, const protocol::started& started, time_point now);
  void on_message(peer_id from, const protocol::completion& completion, time_point now);
  void on_message(peer_id from, protocol::catalogue& models, time_point now);
  void on_message(peer_id from, protocol::report& report, time_point now);
  void on_message(peer_id from, const protocol::manage& request, time_point now);
  void on_message(peer_id from, protocol::managed& answer, time_point now);
  /// Messages that no peer has a reason to send to a scheduler.
  template <class Other>
  void on_message(peer_id, const Other&, time_point) {
    unexpected_.Increment();
  }

  // matching.cpp
  void serve(model_key key, time_point now);  ///< requests wait: find room for them
  void serve_each(const std::map<std::uint64_t, model*>& models, time_point now);
  bool give_work(worker& worker, time_point now);  ///< a worker has room: find requests for it
  /// Whether a batch for this worker is to be formed now; otherwise `stage_at` says when.
  [[nodiscard]] bool is_time(const model& model, time_point free_at, time_point now) const;
  [[nodiscard]] std::optional<time_point> stage_at(const model& model) const;
  bool extend_staged(const model_key& key, model& model, time_point now);
  void recall_for(const model_key& key, model& model);
  void ask_for_place(model& model);
  void start_staged(batch_id id, worker& worker, time_point now);
  void dispatch(worker& worker, const model_key& key, model& model, time_point now, bool makes_way = true);
  void start(running_batch& batch, worker& worker, time_point now);
  void is_staged_no_more(batch_id id, const running_batch& batch);
  /// To be called when a model's queue may have become empty, or no longer is; or what it holds.
  void note_queue(model& model);
  void send_members(batch_id id, running_batch& batch, protocol::offer_id offer, std::vector<waiting> members,
                    time_point now);
  void take_back(batch_id id, running_batch& batch, protocol::offer_id offer, std::size_t count, const error& reason,
                 time_point now);
  /// `in_front`: of all; otherwise where it was.
  void requeue(waiting request, bool in_front, time_point now);
  void place_worker(worker& worker, time_point now);
  [[nodiscard]] model* may_wait_again(const waiting& request, time_point now);
  void refuse(peer_id gateway, const protocol::infer& request, error reason);

  // losses.cpp
  void lose(const protocol::peer_down& down, worker worker, time_point now);
  void suspect(waiting request, bool was_alone, time_point now);
  void let_suspects_go(model& model, time_point now);

  /// False: it does not wait.
  bool forget_queued(protocol::request_key key, time_point now);
  void settle(protocol::request_key key);
  void close_batches_with(const protocol::request_key& key);
  /// Ends the tie between a request and the batch it is in; false if it is not in this one (any more).
  bool release(const protocol::request_key& key, batch_id batch);
  [[nodiscard]] batch_limits limits_of(const model& model, const latency_profile& profile, time_point start) const;

  // admission.cpp
  /// What this request adds to what its worker has to do, and when it would be done; the refusal if that is too late.
  expected<void> predict(const model_key& key, model& model, waiting& request, time_point now);
  void note_end(model& model, const waiting& request, time_point now);
  /// The worker's time that a batch took; nothing: it has not run.
  [[nodiscard]] static std::optional<steady::duration> time_of(const running_batch& batch,
                                                               const protocol::completion& told, time_point now);
  void note_share(const running_batch& batch, worker& worker, const protocol::completion& told, time_point now);
  [[nodiscard]] bool is_wanted_since(const worker& worker, time_point then) const;
  void learn(const running_batch& batch, worker& worker, const protocol::completion& told, batch_size ran,
             time_point now);
  [[nodiscard]] error queue_is_full(const model_key& key, const model& model) const;

  void save_profiles();
  peer_id gateway_of(protocol::instance_id instance) const;
  [[nodiscard]] bool is_listed(const model_key& key) const;
  /// Returns what waited for it, to be refused once the gateways have been told that it is gone.
  std::vector<waiting> forget_model(const model_key& key);
  static constexpr const char* model_queued_name = "shoal_scheduler_model_queued";
  static constexpr const char* model_queued_help = "Requests that wait for a model, as of the last report";
  void show_queues();
  void refuse_unloaded(std::vector<waiting> left);
  void publish_models();

  scheduler_options options_;
  protocol::link& link_;
  metrics& figures_;

  std::map<model_key, model> models_;
  /// Models that requests wait for, by number: work goes by these, not by all there are.
  std::map<std::uint64_t, model*> awaited_;
  std::map<std::uint64_t, model*> holding_;  ///< those that hold suspects
  std::uint64_t next_number_ = 1;
  std::map<model_key, time_point> orphans_;  ///< listed by no worker: when they are forgotten
  protocol::roll_calls calls_;
  fleet workers_;
  profile_store* store_;
  profile_book book_;
  retry_budget retries_;
  std::map<peer_id, protocol::report> tellers_;  ///< what each cache and precision service told last
  std::map<peer_id, protocol::instance_id> gateways_;
  std::map<peer_id, protocol::report> gateway_reports_;  ///< what each told last
  std::unordered_map<batch_id, running_batch> batches_;
  std::set<std::pair<int, batch_id>> staged_;  ///< not started: by rank, the least urgent last
  batch_id next_batch_ = 1;
  unsigned turns_ = 0;                     ///< of workers that were given work
  time_point now_;                         ///< of the last event
  std::optional<time_point> write_again_;  ///< to workers to whom too much waited to be written

  /// Where a request is: in the queue of a model, or in a batch.
  struct place {
    model* waits_for = nullptr;
    model_queue::iterator at;
    batch_id batch = 0;
  };
  struct hash_of_key {
    std::size_t operator()(const protocol::request_key& key) const noexcept {
      return std::hash<std::uint64_t>()(key.gateway * 0x9e3779b97f4a7c15 + key.id);
    }
  };
  std::unordered_map<protocol::request_key, place, hash_of_key> requests_;
  /// Workers' time asked for of late by the requests of one class: decays by a factor e in each of two windows.
  struct taken {
    std::array<double, 2> seconds{};
    time_point as_of;
    void add(microseconds cost, time_point now);
    /// Workers that this class keeps busy, by the window that says less.
    [[nodiscard]] double workers(time_point now) const;
  };
  std::array<taken, 3> taken_;  ///< critical, standard, batch

  deadline_queue<protocol::request_key> deadlines_;
  std::size_t queued_ = 0;

  time_point next_report_{};
  bool report_due_ = false;
  time_point next_save_{};

  prometheus::Counter& batches_total_;
  prometheus::Counter& rows_total_;
  prometheus::Counter& refused_;
  prometheus::Counter& predicted_late_;
  prometheus::Counter& recalled_;
  prometheus::Counter& ejections_;
  prometheus::Counter& unretried_;
  prometheus::Counter& expired_;
  prometheus::Counter& requeued_;
  prometheus::Counter& poisoned_;
  prometheus::Counter& workers_lost_;
  prometheus::Counter& unexpected_;
  prometheus::Gauge& queued_gauge_;
  prometheus::Gauge& workers_gauge_;
  prometheus::Histogram& queue_seconds_;
};

}  // namespace shoal::scheduler
