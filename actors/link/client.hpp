// A client of one or several gateways, blocking or with callbacks: what the command line, benches and tests use, and
// what the C++ SDK (sdk/cpp) is built on. client_state.hpp is its mind; here are the thread, the lock and the waiting.
//
// Every request ends in exactly one outcome: a gateway's, or one from here (`unavailable` when its connection is lost,
// `deadline_exceeded` from a timer, even if the gateway is gone). What is waited for and tried again is the policy's.
// Callable from any thread. Callbacks run on the link's poll thread, those of what is still open when the client is
// destroyed on the thread that does so. They must not block: the blocking calls fail there. What they throw is counted,
// and goes no further.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/clock.hpp"
#include "link/client_state.hpp"
#include "link/options.hpp"

namespace shoal::link {

class client {
 public:
  /// Waits until the gateway at `endpoint` has answered HELLO. Errors: invalid_argument, unavailable (why not).
  static expected<std::unique_ptr<client>> connect(const std::string& endpoint, milliseconds timeout, options own = {});
  /// Waits until one of the gateways has answered; a `timeout` of zero does not wait.
  static expected<std::unique_ptr<client>> connect(const std::vector<std::string>& endpoints, milliseconds timeout,
                                                   client_policy policy, options own = {});
  ~client();

  using done = client_state::done;

  /// `request.id` is given here; a `time_left` of zero becomes `within`. Returns the id, which stands in the outcome.
  /// `on_outcome` is called once, perhaps before this returns.
  protocol::request_id submit(protocol::infer request, milliseconds within, done on_outcome);
  protocol::outcome infer(protocol::infer request, milliseconds within);
  /// The request ends with `cancelled`, unless it has ended.
  void cancel(protocol::request_id id);

  /// Runs `what` on the thread that callbacks run on, soon; at the latest when the client is destroyed.
  void post(std::function<void()> what);

  /// Errors: deadline_exceeded, unavailable.
  expected<protocol::catalogue> describe(milliseconds within);
  expected<protocol::report> inquire(milliseconds within);
  /// Takes a model into service or out of it, at every worker. `request.key` and `time_left` are given here.
  /// Errors: those of the gateway; deadline_exceeded, unavailable.
  expected<std::vector<protocol::worker_answer>> manage(protocol::manage request, milliseconds within);

  [[nodiscard]] bool connected() const;
  /// This is the thread that callbacks run on.
  [[nodiscard]] bool on_own_thread() const;
  /// Those of the link, of its peers, and of this client.
  [[nodiscard]] std::vector<protocol::figure> figures() const;

 private:
  struct state;
  explicit client(std::unique_ptr<state> made);
  std::unique_ptr<state> state_;
};

}  // namespace shoal::link
