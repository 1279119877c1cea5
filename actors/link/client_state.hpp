// The mind of a client of the mesh: what is in flight at which gateway, what waits, what is tried again. Plain C++,
// handed events and the time; owned by link::client, which locks. Nothing is called back from here: what has ended is
// taken with `take_endings` and told without the lock.
//
// Every request ends in exactly one outcome: a gateway's, or one of this client's own when the deadline is over or
// nothing else can be done. A request whose gateway is lost, or that was answered with an error that a retry can help,
// is sent again if the policy, the budget and the deadline allow; each time under another id on the wire, so that what
// a gateway may still say of an earlier try is not taken for the answer. At no time two tries of one request are in
// flight on living connections.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/deadline_queue.hpp"
#include "core/retry_budget.hpp"
#include "protocol/link.hpp"

namespace shoal::link {

/// What a client does about a gateway that is not there or says no. The default is to do nothing and tell at once.
struct client_policy {
  bool waits = false;         ///< for a connection, until the deadline; else an error at once
  bool queues = false;        ///< for credit, likewise
  bool retries = false;       ///< what may help, within the budget
  double retry_ratio = 0.25;  ///< retries for each request
  unsigned retry_reserve = 10;
  unsigned retry_most = 1024;       ///< that may be saved up
  milliseconds first_back_off{50};  ///< where an error names no time; doubles up to last_back_off
  milliseconds last_back_off{1000};
  double jitter = 0.5;    ///< up to this part of a wait is added by chance
  milliseconds grace{0};  ///< after the deadline, for the gateway's own word on it to arrive
};

class client_state {
 public:
  using done = std::function<void(protocol::outcome)>;
  using heard = std::function<void(expected<protocol::message>)>;
  using question = std::variant<protocol::describe, protocol::inquire, protocol::manage>;

  /// `whom`: the endpoints, for messages to people.
  client_state(protocol::link& port, std::string whom, client_policy with, std::uint64_t seed = 1);

  void on(protocol::link_event& event, time_point now);
  /// `request.id` is given here. A `time_left` of zero becomes `within`. In its outcome, `id` is what this returns and
  /// `attempt` counts the tries after the first.
  protocol::request_id submit(protocol::infer request, milliseconds within, done on_outcome, time_point now);
  /// Ends a request with `why`, unless it has ended; its gateway is told.
  void give_up(protocol::request_id id, error why);
  void ask(question what, milliseconds within, heard on_answer, time_point now);
  /// Deadlines and waits that are over; `next` says when to come again.
  void tick(time_point now);
  [[nodiscard]] std::optional<time_point> next() const;
  /// Ends everything.
  void close(const error& why);

  struct endings {
    struct ended {
      done tell;
      protocol::outcome with;
    };
    struct answered {
      heard tell;
      expected<protocol::message> with;
    };
    std::vector<ended> requests;
    std::vector<answered> questions;
    [[nodiscard]] bool empty() const { return requests.empty() && questions.empty(); }
  };
  endings take_endings() { return std::exchange(endings_, {}); }
  [[nodiscard]] bool has_endings() const { return !endings_.empty(); }

  /// Somebody said why no gateway can be reached; it is told on until one is.
  void complained(std::string why) { complaint_ = std::move(why); }
  [[nodiscard]] error not_connected() const;
  [[nodiscard]] bool connected() const { return !gateways_.empty(); }
  [[nodiscard]] std::vector<protocol::figure> figures() const;

 private:
  struct gateway {
    protocol::peer_id peer = 0;
    std::size_t in_flight = 0;
    time_point last_choice_until{};                        ///< it has said that it serves nobody at present
    std::deque<protocol::request_id> catalogues, reports;  ///< questions in the order of their answers
  };
  enum class standing { waiting, resting, in_flight };
  struct request {
    protocol::infer body;
    done tell;
    time_point due;
    standing now = standing::waiting;
    protocol::peer_id at = 0;       ///< while in flight
    protocol::request_id wire = 0;  ///< its id there
    protocol::peer_id last_at = 0;
    std::uint32_t tries = 0;
    std::optional<error> last;  ///< why it was tried again
  };
  struct pending {
    question what;
    heard tell;
    protocol::peer_id at = 0;  ///< zero: waits
  };
  struct rest {
    protocol::request_id id;
    std::uint32_t tries;
  };
  enum class placed { sent, ended, blocked };

  placed place(protocol::request_id id, request& which, time_point now);
  void pump(time_point now);
  bool again(protocol::request_id id, request& which, const error& why, bool lost, time_point now);
  void leave(request& which);
  void end(protocol::request_id id, protocol::outcome with);
  void expire(protocol::request_id id);
  void on_outcome(protocol::peer_id from, protocol::outcome& body, time_point now);
  void on_down(protocol::peer_id peer, const error& reason, time_point now);
  bool put(protocol::request_id id, pending& which, time_point now);
  void answer(protocol::request_id id, expected<protocol::message> with);
  void answer_first(std::deque<protocol::request_id>& of, protocol::message body);
  gateway* find(protocol::peer_id peer);
  void order_gateways(protocol::peer_id rather_not, time_point now);
  milliseconds with_jitter(milliseconds wait);

  protocol::link& port_;
  const std::string whom_;
  std::string complaint_;
  const client_policy policy_;
  retry_budget budget_;
  std::minstd_rand random_;

  std::vector<gateway> gateways_;
  std::vector<gateway*> order_;  ///< scratch
  std::size_t turn_ = 0;
  protocol::request_id next_id_ = 1;
  std::unordered_map<protocol::request_id, request> requests_;
  std::unordered_map<protocol::request_id, protocol::request_id> wires_;  ///< of tries after the first
  std::unordered_map<protocol::request_id, pending> questions_;
  std::deque<protocol::request_id> waiting_;  ///< entries whose request does not wait any more are skipped
  deadline_queue<protocol::request_id> deadlines_;
  deadline_queue<rest> resting_;
  std::optional<time_point> stalled_;  ///< no room at any gateway: look again then
  endings endings_;
  std::uint64_t retries_ = 0, retries_refused_ = 0, lost_in_flight_ = 0, unexpected_ = 0;
};

}  // namespace shoal::link
