// Who has answered a `manage`, and who has not yet. The gateway asks the schedulers, a scheduler asks its workers; both
// owe their asker one `managed` by the deadline, with a sentence for each worker.
//
// Owned by one mind, plain C++ under its time. Bounded: at most `limit` calls at a time. A peer that is lost or late is
// answered for, so that a call always closes.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "core/clock.hpp"
#include "protocol/link.hpp"

namespace shoal::protocol {

class roll_calls {
 public:
  static constexpr std::size_t limit = 64;
  /// `asker` is owed this answer, under the key it gave.
  using closed = std::function<void(peer_id asker, managed answer)>;

  /// `whom`: what the asked are, for sentences ("worker").
  roll_calls(std::string whom, closed on_closed) : whom_(std::move(whom)), on_closed_(std::move(on_closed)) {}

  [[nodiscard]] bool is_full() const { return calls_.size() >= limit; }

  /// `key` names the call among those asked; `asked` maps them to their instances. Nobody: closes with `unavailable`.
  void open(request_key key, peer_id asker, request_key askers_key, std::map<peer_id, instance_id> asked,
            time_point deadline);
  /// An answer that is not awaited (late, or of a stranger) is ignored.
  void answer(peer_id from, managed body);
  /// `peer` answers no more.
  void lose(peer_id peer);
  /// Nobody waits for answers to `asker`.
  void forget(peer_id asker);
  void expire(time_point now);
  [[nodiscard]] std::optional<time_point> next() const;

 private:
  struct call {
    peer_id asker = 0;
    request_key askers_key;
    time_point deadline;
    std::map<peer_id, instance_id> awaited;
    std::map<instance_id, worker_answer> answers;
    std::optional<error> refusal;  ///< counts if no worker has answered
  };
  using iterator = std::map<request_key, call>::iterator;

  static void add(call& to, worker_answer answer);
  iterator close_if_complete(iterator at);

  std::string whom_;
  closed on_closed_;
  std::map<request_key, call> calls_;
};

}  // namespace shoal::protocol
