// The gateway's mind: every request from its arrival to its one terminal outcome, whatever door it came through.
//
// Owned by the gateway's actor (gateway_actor.hpp), which hands in events and the time; talks to other services only
// through the link's port, so tests and the simulation drive it with a virtual clock and a link in memory.
//
// A request stays here, payload included, until its outcome: a scheduler or worker may die at any time and the request
// is handed out again. The first outcome wins, later ones are counted and dropped. A timer of its own ends what is
// late. What a request holds is bounded (`max_requests`, `max_bytes`); beyond that it is refused at once.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>

#include "core/clock.hpp"
#include "core/deadline_queue.hpp"
#include "core/metrics.hpp"
#include "gateway/board.hpp"
#include "gateway/model_tally.hpp"
#include "gateway/standing.hpp"
#include "protocol/actors.hpp"
#include "protocol/link.hpp"
#include "protocol/roll_call.hpp"

namespace shoal::gateway {

struct gateway_options {
  protocol::instance_id instance = 0;
  milliseconds default_deadline{10000};
  milliseconds max_deadline{3600000};                ///< longer ones are cut to this
  std::uint64_t inline_bytes = 64ULL * 1024;         ///< larger payloads stay here until a worker fetches them
  std::size_t max_requests = 4096;                   ///< held at a time
  std::uint64_t max_bytes = std::uint64_t{1} << 30;  ///< of their payloads
  milliseconds probe_interval{5000};   ///< without traffic for so long, the gateway probes the mesh itself
  milliseconds report_interval{1000};  ///< to the schedulers, while something changed
  milliseconds forget_after{60000};    ///< how long a model that was lost with its scheduler stays known
};

class gateway_state {
 public:
  gateway_state(gateway_options options, protocol::link& link, std::shared_ptr<board> board, metrics& figures);

  void on(protocol::link_event& event, time_point now);
  void submit(protocol::submission& submission, time_point now);
  void withdraw(protocol::request_id ticket);
  void on(protocol::text_done& done, time_point now);
  void manage_for_door(protocol::management& request, time_point now);
  /// Of all gateways: see front::statistics.
  [[nodiscard]] std::vector<protocol::model_statistics> statistics() const;
  void on_wake(time_point now);

  /// Who reads text (text/text_state.hpp); before that, requests with text are refused.
  struct text_port {
    std::function<void(protocol::text_order)> take;
    std::function<void(protocol::request_id)> drop;
  };
  void read_text_with(text_port port) { text_ = std::move(port); }

  /// New requests are refused from now on.
  void start_draining() { board_->draining = true; }
  /// Nobody waits for an answer: the probe is the gateway's own.
  [[nodiscard]] bool idle() const { return texts_.empty() && requests_.size() == static_cast<std::size_t>(probing_); }

  /// Requests without an outcome yet, the probe included.
  [[nodiscard]] std::size_t requests() const { return requests_.size() + texts_.size(); }

  /// When `on_wake` wants to be called next.
  [[nodiscard]] std::optional<time_point> next_wake() const;

 private:
  using peer_id = protocol::peer_id;
  using request_id = protocol::request_id;

  struct held {
    protocol::infer request;  ///< with its payload
    peer_id client = 0;       ///< 0: a door of this process
    request_id client_id = 0;
    std::uint32_t client_attempt = 0;
    std::function<void(protocol::outcome)> done;
    time_point arrived;
    time_point deadline;
    peer_id scheduler = 0;  ///< 0: waits for one that knows the model
    time_point placed;      ///< when it was given to that one
    std::uint64_t bytes = 0;
    std::uint32_t rows = 1;
    bool is_probe = false;
    bool is_part = false;  ///< of a text request
    bool is_text = false;
    bool any_version = false;  ///< asked for the highest that is ready: another one may take over
  };
  using model_key = std::pair<std::string, std::uint64_t>;
  struct scheduler {
    protocol::instance_id instance = 0;
    protocol::catalogue models;
    protocol::report report;
    bool takes_reports = false;  ///< of gateways: since protocol version 2
    gateway::standing standing;
  };

  void on_peer(const protocol::peer_up& up, time_point now);
  void on_peer(const protocol::peer_down& down, time_point now);
  void on_message(peer_id from, protocol::infer& request, time_point now);
  void on_message(peer_id from, const protocol::cancel& cancel, time_point now);
  void on_message(peer_id from, protocol::outcome& outcome, time_point now);
  void on_message(peer_id from, const protocol::fetch& fetch, time_point now);
  void on_message(peer_id from, protocol::catalogue& models, time_point now);
  void on_message(peer_id from, const protocol::describe&, time_point now);
  void on_message(peer_id from, const protocol::inquire&, time_point now);
  void on_message(peer_id from, protocol::report& report, time_point now);
  void on_message(peer_id from, const protocol::manage& request, time_point now);
  void on_message(peer_id from, protocol::managed& answer, time_point now);
  /// Messages that no peer has a reason to send to a gateway.
  template <class Other>
  void on_message(peer_id, const Other&, time_point) {
    unexpected_.Increment();
  }

  // placement.cpp
  [[nodiscard]] peer_id owner_of(const std::string& model, std::uint64_t version, time_point now) const;
  void place(request_id id, held& request, time_point now);
  void place_waiting(time_point now);
  void leave_scheduler(held& request);
  void call_back(request_id id, held& request);
  void take_from_scheduler(held& request);
  void note_answer(const held& request, const protocol::outcome& outcome, time_point now);
  void look_for_slowness(peer_id scheduler, time_point now);
  void look_for_silence(time_point now);
  void excuse_silence(time_point until);
  template <class Is>
  [[nodiscard]] bool another_is(peer_id than, time_point now, Is&& is) const;
  void set_aside(peer_id scheduler, const char* why, time_point now);

  /// Checks a request and makes it ready to be held: resolves the model, the deadline and the order of inputs.
  expected<void> accept(held& request, time_point now);
  void read_text(request_id id, held request);
  void abandon_text(request_id id);
  void finish_text(request_id id, protocol::outcome outcome, time_point now);
  /// Room that a request takes of what the gateway may hold.
  [[nodiscard]] static std::uint64_t charge(const held& of) { return of.is_part ? 0 : of.bytes; }
  void admit_and_place(request_id id, held request, time_point now);
  void finish(request_id id, protocol::outcome outcome, time_point now);
  void finish_with(request_id id, error reason, time_point now);
  void abandon(request_id id);
  void reply(held& request, protocol::outcome outcome);
  /// Asks every scheduler; `asker` (0: `doors_waiting_`) is answered under `askers_key`.
  void ask_schedulers(protocol::manage request, peer_id asker, protocol::request_key askers_key, time_point now);
  void answer_managed(peer_id asker, protocol::managed answer);
  [[nodiscard]] protocol::service_report own_report() const;
  void send_report();
  bool take_over(request_id id, held& request, time_point now);
  void publish_models(time_point now, const std::set<model_key>& dropped = {});
  void end_unloaded(time_point now);
  void probe(time_point now);

  gateway_options options_;
  protocol::link& link_;
  std::shared_ptr<board> board_;
  metrics& figures_;

  std::unordered_map<request_id, held> requests_;
  deadline_queue<request_id> deadlines_;
  text_port text_;
  std::unordered_map<request_id, held> texts_;  ///< requests that are being read; their parts are in requests_
  std::size_t parts_ = 0;                       ///< of requests_: their text holds the room for them
  std::uint64_t bytes_ = 0;

  struct client {
    std::unordered_map<request_id, request_id> requests;  ///< its ids -> ours
    bool administers = true;
  };
  std::unordered_map<peer_id, client> clients_;
  std::map<peer_id, scheduler> schedulers_;
  std::map<protocol::instance_id, standing> lost_aside_;  ///< set aside when their connection was lost: may come back
  std::unordered_map<peer_id, protocol::instance_id> workers_;

  std::map<model_key, time_point> orphans_;  ///< listed by no scheduler: when they are forgotten
  protocol::roll_calls calls_;
  /// Doors that wait for an answer to `manage`, by the key's id.
  std::unordered_map<request_id, std::function<void(expected<std::vector<protocol::worker_answer>>)>> doors_waiting_;

  model_tally tally_;
  time_point report_at_{};
  bool report_due_ = false;

  time_point next_probe_{};
  bool probing_ = false;
  std::size_t probe_turn_ = 0;

  std::array<prometheus::Counter*, static_cast<std::size_t>(last_errc) + 1> outcomes_{};  ///< by errc
  prometheus::Counter& succeeded_;
  prometheus::Counter& late_;
  prometheus::Counter& unexpected_;
  prometheus::Counter& wrong_answers_;
  prometheus::Counter& handed_again_;
  prometheus::Counter& set_aside_;
  prometheus::Gauge& in_flight_;
  prometheus::Gauge& held_bytes_;
  prometheus::Histogram& latency_;
};

}  // namespace shoal::gateway
