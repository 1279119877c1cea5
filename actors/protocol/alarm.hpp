// One timer of an actor over CAF's clock (virtual in tests): rings at or shortly after the earliest time asked for.
// Times that move later are not followed at once; the actor is woken early once and asks again, so a busy actor sets
// no timer per request.
#pragma once

#include <optional>

#include "core/clock.hpp"
#include "protocol/actors.hpp"

namespace shoal::protocol {

class alarm {
 public:
  /// After every message: `next` is when the actor wants to be woken.
  template <class Self>
  void set(Self* self, std::optional<time_point> next) {
    if (!next || (armed_ && *armed_ <= *next)) return;
    armed_ = next;
    const auto now = self->clock().now();
    self->delayed_send(self, *next > now ? *next - now : steady::duration::zero(), wake_atom::value);
  }

  /// The actor was woken. A wake that was overtaken by an earlier one is harmless.
  void rang(time_point now) {
    if (armed_ && *armed_ <= now) armed_.reset();
  }

 private:
  std::optional<time_point> armed_;
};

}  // namespace shoal::protocol
