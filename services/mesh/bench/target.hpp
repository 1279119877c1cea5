// What `shoal bench` sends requests to: a door of this mesh, or of another server that speaks the Open Inference
// Protocol. A target knows its requests before the run starts, so that sending one costs little.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "protocol/messages.hpp"

namespace shoal::services::bench {

class target {
 public:
  /// Called once for each request, on any thread; nothing: it was answered.
  using done = std::function<void(std::optional<errc>)>;

  virtual ~target() = default;

  /// Names and types of the inputs. Errors: not_found, unavailable.
  virtual expected<protocol::model_spec> spec(const std::string& model, std::uint64_t version) = 0;
  /// What will be sent; `time_left` zero: no deadline is named.
  virtual expected<void> prepare(std::vector<protocol::infer> requests) = 0;
  virtual void send(std::size_t which, done on_end) = 0;
};

/// tcp:// or ipc://: the native door. Errors: invalid_argument, unavailable.
expected<std::unique_ptr<target>> native_target(const std::string& address, milliseconds timeout);
/// HOST:PORT. Binary tensors on up to `connections` kept connections; a request waits when all are in use, and that
/// counts as its latency. Errors: unavailable.
expected<std::unique_ptr<target>> http_target(const std::string& address, std::size_t connections,
                                              milliseconds timeout);

}  // namespace shoal::services::bench
