// A client of a gateway, blocking or with callbacks: for the command line, benches and tests. The message-level SDKs in
// sdk/ are for everybody else.
//
// Every request ends in exactly one outcome: the gateway's, `unavailable` when its connection is lost, or
// `deadline_exceeded` from a timer here, even if the gateway is gone. Callable from any thread; callbacks run on the
// link's poll thread and must not block, so the blocking calls must not be used in them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/clock.hpp"
#include "link/options.hpp"

namespace shoal::link {

class client {
 public:
  /// Waits until the gateway at `endpoint` has answered HELLO. Errors: invalid_argument, unavailable (why not).
  static expected<std::unique_ptr<client>> connect(const std::string& endpoint, milliseconds timeout, options own = {});
  ~client();

  using done = std::function<void(protocol::outcome)>;

  /// `request.id` is given here; a `time_left` of zero becomes `within`. Returns the id. `on_outcome` is called once,
  /// perhaps before this returns.
  protocol::request_id submit(protocol::infer request, milliseconds within, done on_outcome);
  protocol::outcome infer(protocol::infer request, milliseconds within);
  /// The request ends with `cancelled`, unless it has ended.
  void cancel(protocol::request_id id);

  /// Errors: deadline_exceeded, unavailable.
  expected<protocol::catalogue> describe(milliseconds within);
  expected<protocol::report> inquire(milliseconds within);
  /// Takes a model into service or out of it, at every worker. `request.key` and `time_left` are given here.
  /// Errors: those of the gateway; deadline_exceeded, unavailable.
  expected<std::vector<protocol::worker_answer>> manage(protocol::manage request, milliseconds within);

  [[nodiscard]] bool connected() const;
  [[nodiscard]] std::vector<protocol::figure> figures() const;

 private:
  struct state;
  explicit client(std::unique_ptr<state> made);
  std::unique_ptr<state> state_;
};

}  // namespace shoal::link
