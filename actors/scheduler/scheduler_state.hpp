// The scheduler's mind: which request runs where, with which others, and when.
//
// Owned by the scheduler's actor, which hands in events and the time; reaches workers and gateways only through the
// link's port. Runs unchanged under a virtual clock.
//
// Late batch formation: a worker offers room for two batches, one to run and one to stage. A batch is formed when an
// offer is there, not before; the staged one keeps growing until the one before it is over. Requests of a
// worker that dies are queued again at the front; those that were running then run alone, and a request that ends two
// workers while alone is refused as poison (design §2.5). What waits is bounded; beyond that a request is refused at
// once.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "core/clock.hpp"
#include "core/deadline_queue.hpp"
#include "core/metrics.hpp"
#include "protocol/link.hpp"
#include "protocol/roll_call.hpp"
#include "scheduler/model_queue.hpp"

namespace shoal::scheduler {

struct scheduler_options {
  protocol::instance_id instance = 0;
  std::size_t max_queue = 1024;  ///< requests that wait for one model
  double max_padding = 0.25;     ///< largest part of a padded batch that may be padding
  milliseconds report_interval{1000};
  /// How long a model stays known, and requests for it wait, after the last worker that listed it was lost.
  milliseconds forget_after{60000};
};

class scheduler_state {
 public:
  scheduler_state(scheduler_options options, protocol::link& link, metrics& figures);

  void on(protocol::link_event& event, time_point now);
  void on_wake(time_point now);
  [[nodiscard]] std::optional<time_point> next_wake() const;

  [[nodiscard]] std::size_t queued() const { return queued_; }

 private:
  using peer_id = protocol::peer_id;
  using batch_id = protocol::batch_id;
  using model_key = std::pair<std::string, std::uint64_t>;

  struct model {
    protocol::model_spec spec;
    model_queue queue;
    prometheus::Gauge* queued = nullptr;  ///< shown as of the last report
  };
  struct running_batch {
    peer_id worker = 0;
    model_key model;
    std::vector<waiting> members;  ///< as they came, to be queued again if the worker is lost
    batch_shape shape;
    bool started = false;
    time_point dispatched;
  };
  struct worker {
    protocol::instance_id instance = 0;
    std::deque<protocol::offer_id> offers;
    std::set<model_key> models;    ///< ready there
    std::set<model_key> listed;    ///< in its catalogue, in whatever state
    std::deque<batch_id> batches;  ///< the running one first, then the staged one
    protocol::report report;
  };

  void on_peer(const protocol::peer_up& up, time_point now);
  void on_peer(const protocol::peer_down& down, time_point now);
  void on_message(peer_id from, protocol::infer& request, time_point now);
  void on_message(peer_id from, const protocol::cancel& cancel, time_point now);
  void on_message(peer_id from, const protocol::offer& offer, time_point now);
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

  void serve(model_key key, time_point now);     ///< a request has come: find room for it
  bool give_work(peer_id peer, time_point now);  ///< a worker has room: find requests for it
  bool extend_staged(model_key key, model& model, time_point now);
  void dispatch(peer_id peer, worker& worker, const model_key& key, time_point now);
  void send_members(batch_id id, running_batch& batch, protocol::offer_id offer, std::vector<waiting> members,
                    time_point now);
  void take_back(batch_id id, running_batch& batch, protocol::offer_id offer, std::size_t count, const error& reason);
  void requeue(waiting request, time_point now);
  void lose(const protocol::peer_down& down, worker worker, time_point now);
  void refuse(peer_id gateway, const protocol::infer& request, error reason);
  void forget_queued(protocol::request_key key);
  void settle(protocol::request_key key);
  /// Ends the tie between a request and the batch it is in; false if it is not in this one (any more).
  bool release(const protocol::request_key& key, batch_id batch);
  [[nodiscard]] batch_limits limits_of(const model& model) const;
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
  std::map<model_key, time_point> orphans_;  ///< listed by no worker: when they are forgotten
  protocol::roll_calls calls_;
  std::map<peer_id, worker> workers_;
  std::map<peer_id, protocol::report> caches_;  ///< what each told last
  std::map<peer_id, protocol::instance_id> gateways_;
  std::map<peer_id, protocol::report> gateway_reports_;  ///< what each told last
  std::unordered_map<batch_id, running_batch> batches_;
  batch_id next_batch_ = 1;
  unsigned turns_ = 0;  ///< of workers that were given work

  struct place {
    model_key model;
    model_queue::iterator at;
  };
  std::map<protocol::request_key, place> waiting_;        ///< in a queue
  std::map<protocol::request_key, batch_id> dispatched_;  ///< in a batch
  deadline_queue<protocol::request_key> deadlines_;
  std::size_t queued_ = 0;

  time_point next_report_{};
  bool report_due_ = false;

  prometheus::Counter& batches_total_;
  prometheus::Counter& rows_total_;
  prometheus::Counter& refused_;
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
