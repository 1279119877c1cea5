// What a door of the gateway (HTTP, gRPC) may ask of it. The native door needs none of this: its messages
// reach the gateway's actor through the link. All checks of a request happen behind `submit`, in one place for all
// doors.
//
// Implemented over the gateway's actor (gateway.hpp); tests of doors implement it in memory. Callable from any thread.
#pragma once

#include <functional>
#include <memory>

#include "gateway/admission.hpp"
#include "protocol/messages.hpp"
#include "protocol/statistics.hpp"

namespace shoal::gateway {

class front {
 public:
  /// Called exactly once per request, on any thread; must not block.
  using done = std::function<void(protocol::outcome)>;

  virtual ~front() = default;

  /// Takes a request whose `id`, `attempt` and `deaths` are ignored (the gateway gives its own). Returns the ticket to
  /// cancel it with. Bad requests, too: `done` tells the error. Output tensors come in the order asked for.
  virtual protocol::request_id submit(protocol::infer request, done on_outcome) = 0;

  /// The client has gone: its outcome interests nobody. Unknown tickets are ignored.
  virtual void cancel(protocol::request_id ticket) = 0;

  /// Loads or unloads a model at every worker. The request's `key` is given here, a `time_left` of zero becomes the
  /// gateway's default. Errors come through `on_answer`, too.
  using managed = std::function<void(expected<std::vector<protocol::worker_answer>>)>;
  virtual void manage(protocol::manage request, managed on_answer) = 0;

  /// What all gateways of the mesh have counted, by model and version: this one's figures of now, the others' of at
  /// most a few seconds ago.
  using told = std::function<void(std::vector<protocol::model_statistics>)>;
  virtual void statistics(told on_answer) = 0;

  /// The models of the mesh as last heard; never null.
  [[nodiscard]] virtual std::shared_ptr<const model_list> models() const = 0;

  /// A real inference (traffic or self-probe) has succeeded lately.
  [[nodiscard]] virtual bool ready() const = 0;
};

}  // namespace shoal::gateway
