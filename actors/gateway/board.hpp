// What the gateway's actor publishes to its doors without being asked: read by any thread, written by the actor.
#pragma once

#include <atomic>
#include <memory>

#include "core/clock.hpp"
#include "gateway/admission.hpp"
#include "protocol/messages.hpp"

namespace shoal::gateway {

struct board {
  std::atomic<std::shared_ptr<const model_list>> models{std::make_shared<const model_list>()};
  /// Ids of requests, whichever door they come through; never 0.
  std::atomic<protocol::request_id> next_id{1};
  /// When an inference last succeeded, and for how long that counts as being ready.
  std::atomic<time_point> last_success{time_point{}};
  /// It serves as before, but nobody new shall come: whoever balances over gateways is told so.
  std::atomic<bool> leaving{false};
  std::atomic<bool> draining{false};
  milliseconds ready_window{15000};

  [[nodiscard]] bool ready(time_point now) const {
    if (leaving || draining) return false;
    const auto success = last_success.load();
    return success != time_point{} && now - success <= ready_window;
  }
};

}  // namespace shoal::gateway
