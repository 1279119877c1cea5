// The worker's mind: offers capacity to schedulers, collects the payloads of its batches, hands batches to the compute
// thread one at a time, and sends each outcome straight to the gateway that holds the request.
//
// Owned by the worker's actor. One batch runs and one is staged behind it, whatever the number of schedulers:
// places.hpp says whose they are. The staged batch grows until it starts; members that come later are returned. It
// makes way for a critical request of another scheduler, unless it holds one itself, or one that has waited for long.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "core/clock.hpp"
#include "core/metrics.hpp"
#include "protocol/actors.hpp"
#include "protocol/link.hpp"
#include "worker/places.hpp"
#include "worker/plan_follower.hpp"

namespace shoal::worker {

struct worker_options {
  protocol::instance_id instance = 0;
  milliseconds gateway_patience{1000};  ///< how long a batch waits for a gateway that is not connected yet
  milliseconds report_interval{1000};
  std::shared_ptr<std::atomic<bool>> ready;  ///< set once a model is served and a scheduler knows; may be null
};

class worker_state {
 public:
  /// The ways to the loader and to the compute thread; answered with `on(found)`, `on(loaded)`, `on(computed)`,
  /// `on(unloaded)`, `on(replanned)`.
  struct compute_port {
    std::function<void(protocol::lookup)> find;
    std::function<void(protocol::load)> load;
    std::function<void(protocol::compute)> run;
    std::function<void(protocol::unload)> unload;
    std::function<void(protocol::replan)> replan = [](const protocol::replan&) {};
  };

  worker_state(worker_options options, protocol::link& link, compute_port compute, metrics& figures);

  void load(std::vector<protocol::load> models);

  void on(protocol::link_event& event, time_point now);
  void on(protocol::found& found, time_point now);
  void on(protocol::loaded& loaded, time_point now);
  void on(protocol::unloaded& unloaded, time_point now);
  void on(protocol::computed& computed, time_point now);
  void on(const protocol::replanned& done) { plans_.on(done); }
  void on(protocol::given_up& what) { plans_.on(what); }
  void on_wake(time_point now);
  [[nodiscard]] std::optional<time_point> next_wake() const;

  /// Serves nothing new: the schedulers are told, what was taken is finished.
  void start_draining();
  [[nodiscard]] bool idle() const { return batches_.empty(); }
  [[nodiscard]] std::size_t batches() const { return batches_.size(); }

 private:
  using peer_id = protocol::peer_id;
  using model_key = std::pair<std::string, std::uint64_t>;

  struct member {
    protocol::request_key key;
    protocol::infer request;
    time_point deadline;
    microseconds queue_time{};
    time_point ready;  ///< it has waited for its batch's turn since
    bool has_payload = false;
    bool is_asked_for = false;  ///< `fetch` is out
    bool is_over = false;       ///< cancelled, late, or without a payload
  };
  struct staged {
    protocol::batch_id id = 0;
    peer_id scheduler = 0;
    std::vector<member> members;
    time_point since;
    microseconds takes{};  ///< as its scheduler predicts; zero: not known
    bool running = false;
    std::vector<tensor> alone;  ///< of a running batch that is a sample: its first member's inputs
    bool waited = false;        ///< another ran when it came, or its scheduler has to think so
  };

  void on_peer(const protocol::peer_up& up, time_point now);
  void on_peer(const protocol::peer_down& down, time_point now);
  void on_message(peer_id from, protocol::batch& batch, time_point now);
  void on_message(peer_id from, const protocol::recall& recall, time_point now);
  void on_message(peer_id from, const protocol::want& want, time_point now);
  void on_message(peer_id from, protocol::payload& payload, time_point now);
  void on_message(peer_id from, const protocol::cancel& cancel, time_point now);
  void on_message(peer_id from, protocol::manage& request, time_point now);
  /// Messages that no peer has a reason to send to a worker.
  template <class Other>
  void on_message(peer_id, const Other&, time_point) {
    unexpected_.Increment();
  }

  // life.cpp
  struct order {
    protocol::manage request;
    std::set<peer_id> askers;
    std::uint64_t version = 0;    ///< of the model to be loaded, once it is found
    std::set<model_key> leaving;  ///< what it waits for to be unloaded
    std::string said;             ///< so far
  };
  enum class leave : std::uint8_t { draining, releasing, gone };

  [[nodiscard]] expected<void> may_load(const model_key& key) const;
  void start_unload(order& order);
  void replace_older(order& order);
  void leave_service(const model_key& key);
  void release_drained();
  void answer_order(protocol::request_key key, expected<std::string> result);
  void announce_to_all();

  void give_back(staged& batch, time_point now);
  template <class Members>
  protocol::completion returning(protocol::batch_id id, const Members& members, bool over);
  void return_all(peer_id from, const protocol::batch& batch, bool over);
  void add_members(staged& batch, std::vector<protocol::batch_member> members, time_point now);
  void ask_for_payloads(staged& batch);
  /// The batch that has begun, if it had waited for another: its scheduler has to be told.
  struct begun {
    peer_id scheduler = 0;
    protocol::batch_id batch = 0;
  };
  begun start_next(time_point now);
  void start_and_tell(time_point now);
  void give_up_waiting(time_point now);
  void return_cut_off(staged& batch, time_point now);
  void complete(staged& batch, protocol::completion completion, time_point now);
  void lease_places(time_point now);
  void tell(const places::changes& made, time_point now);
  void make_way(time_point now);
  /// How long the batches of other schedulers will still take.
  [[nodiscard]] microseconds busy_for(peer_id scheduler, time_point now) const;
  void announce(peer_id scheduler);
  void publish_health();
  void send_report();
  [[nodiscard]] peer_id gateway_of(protocol::instance_id instance) const;
  [[nodiscard]] bool is_running() const { return !batches_.empty() && batches_.front().running; }

  worker_options options_;
  protocol::link& link_;
  compute_port compute_;
  metrics& figures_;

  std::map<model_key, protocol::model_spec> models_;
  std::map<model_key, leave> leaving_;             ///< unloaded: no new batch is taken for them
  std::map<protocol::request_key, order> orders_;  ///< under way
  std::deque<std::pair<protocol::request_key, expected<std::string>>> answered_;  ///< the last ones, for who asks again
  std::deque<staged> batches_;  ///< the running one, if any, is in front
  places places_{2};
  plan_follower plans_;
  std::map<peer_id, protocol::instance_id> gateways_;
  bool draining_ = false;
  std::optional<time_point> report_at_;
  std::optional<time_point> ask_again_;  ///< for payloads

  prometheus::Counter& batches_total_;
  prometheus::Counter& rows_total_;
  prometheus::Counter& failed_;
  prometheus::Counter& dropped_;
  prometheus::Counter& returned_;
  prometheus::Counter& withdrawn_;
  prometheus::Counter& unexpected_;
  prometheus::Gauge& models_ready_;
  prometheus::Histogram& compute_seconds_;
};

}  // namespace shoal::worker
