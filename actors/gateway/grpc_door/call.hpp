// One call of a client: reads its requests, hands each to its method, writes the answers in the order of the requests.
// Internal to the door.
//
// A call with one request and one answer and a stream of them are the same thing with different windows. gRPC tells of
// what has happened on threads of its own, answers come on others; each of them changes the state under a lock and then
// calls `advance`, and whoever is first there takes all the steps that have become possible, one at a time. So gRPC is
// never called by two threads at once for one call, nor under a lock that its own callbacks would need.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>

#include <grpcpp/generic/async_generic_service.h>

#include "core/byte_budget.hpp"
#include "core/clock.hpp"
#include "gateway/grpc_door/methods.hpp"
#include "gateway/grpc_door/server.hpp"
#include "gateway/grpc_door/traffic.hpp"

namespace shoal::gateway::grpc_door {

class call;

/// What the calls of a door share.
struct environment {
  environment(front& behind, const options& wanted)
      : behind(behind),
        doorman(wanted.doorman),
        limits(wanted.limits),
        held(std::make_shared<byte_budget>(wanted.limits.message_bytes_total)),
        answers(std::make_shared<byte_budget>(wanted.limits.answer_bytes_total)),
        counters(wanted.registry) {}

  front& behind;
  access::doorman* const doorman;
  const grpc_door::limits limits;
  /// For an answer until it is written. If others take all of it, calls are ended whose clients do not read theirs, the
  /// slowest first. Errors: too_large, overloaded.
  expected<taken_bytes> room_for_answer(std::size_t bytes);

  const std::shared_ptr<byte_budget> held;
  const std::shared_ptr<byte_budget> answers;
  traffic counters;
  std::mutex mutex;
  std::unordered_set<std::shared_ptr<call>> calls;  ///< that gRPC still knows
};

class call final : public grpc::ServerGenericBidiReactor, public std::enable_shared_from_this<call> {
 public:
  /// gRPC owns the call until it is over; `shared` and `context` live as long.
  static call* begin(environment& shared, grpc::GenericCallbackServerContext& context);

  call(environment& shared, grpc::GenericCallbackServerContext& context);

  /// Ends the call if its request has not come in, or its answer not gone out, in the time there is for it.
  void check(time_point now);
  /// When the write under way began that holds bytes of answers; nothing: there is none.
  std::optional<time_point> writes_since();
  /// Ends the call of a client that does not read. Its bytes are given back.
  void cut();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  /// A request that has no answer yet, or whose answer waits for its turn.
  struct exchange {
    protocol::request_id ticket = 0;
    std::optional<grpc::ByteBuffer> answer;
    taken_bytes held;  ///< for the answer
    access::doorman::pass pass;
  };
  enum class step { none, read, write, write_and_finish, finish };

  expected<access::doorman::pass> admit() const;
  void handle(const grpc::ByteBuffer& received);
  void answer_unread();
  void on_answer(exchange& of, expected<grpc::ByteBuffer> answer);
  void end(grpc::Status status);  // mutex_ is held; the first end counts
  void end(const error& failure);
  void advance();
  step next_step();
  void take(step next);

  environment& shared_;
  grpc::GenericCallbackServerContext& context_;
  const method* const method_;
  const time_point begun_;
  std::optional<time_point> due_;  // by the client's own deadline
  protocol::trace_context trace_;

  std::mutex mutex_;
  std::deque<std::shared_ptr<exchange>> exchanges_;
  std::optional<access::doorman::pass> admitted_;  // with the first request, before it is read
  grpc::ByteBuffer received_;
  const grpc::ByteBuffer* outgoing_ = nullptr;  // the first exchange's answer while it is written
  bool acting_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool input_ended_ = false;
  bool cancelled_ = false;
  bool finished_ = false;             // gRPC has been told the end
  std::optional<grpc::Status> ends_;  // it is to be told
  milliseconds pushback_{};
  time_point read_expires_ = time_point::max();
  time_point write_expires_ = time_point::max();
  std::optional<time_point> write_begun_;

  // Held while gRPC is asked to cancel, and when it lets go of the context. (Recursive: it may let go at once.)
  std::recursive_mutex context_mutex_;
  bool done_ = false;
};

}  // namespace shoal::gateway::grpc_door
