#include "gateway/text/text_actor.hpp"

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "protocol/alarm.hpp"

namespace shoal::gateway {

namespace {

struct actor_state {
  std::unique_ptr<text_state> mind;
  protocol::alarm alarm;
  bool has_turn = false;  ///< a message to itself is on its way
  static inline const char* name = "shoal.text";
};

using self_pointer = protocol::text_actor::stateful_pointer<actor_state>;

protocol::text_actor::behavior_type text_actor(self_pointer self, run_loop* loop, protocol::gateway_actor gateway,
                                               text_options options, std::shared_ptr<board> board, metrics* figures) {
  const auto own = caf::actor_cast<protocol::text_actor>(self);
  const auto weak = caf::actor_cast<caf::weak_actor_ptr>(own);
  text_state::port port;
  port.submit = [=](protocol::request_id ticket, std::uint32_t part, protocol::request_id job,
                    protocol::infer request) {
    protocol::submission made{ticket, std::move(request), {}, true};
    // Told on the gateway's thread; this actor may have ended by then.
    made.done = [weak, part, job](protocol::outcome outcome) {
      if (const auto to = caf::actor_cast<protocol::text_actor>(weak))
        caf::anon_send(to, protocol::text_part{job, part, std::move(outcome)});
    };
    loop->send(gateway, std::move(made));
  };
  port.withdraw = [=](protocol::request_id ticket) { loop->send(gateway, protocol::withdrawal{ticket}); };
  port.done = [=](protocol::text_done done) { loop->send(gateway, std::move(done)); };
  self->state.mind = std::make_unique<text_state>(std::move(options), std::move(board), std::move(port), *figures);
  const auto after = [self] {
    auto& state = self->state;
    state.alarm.set(self, state.mind->next_wake());
    if (!std::exchange(state.has_turn, true)) self->send(self, protocol::turn_atom::value);
  };
  return {
      [self, after](protocol::text_order& order) {
        self->state.mind->on(order, self->clock().now());
        after();
      },
      [self, after](const protocol::withdrawal& gone) {
        self->state.mind->on(gone, self->clock().now());
        after();
      },
      [self, after](protocol::text_part& part) {
        self->state.mind->on(part, self->clock().now());
        after();
      },
      [self, after](protocol::turn_atom) {
        self->state.has_turn = false;
        if (self->state.mind->turn(self->clock().now())) after();
      },
      [self, after](protocol::wake_atom) {
        const auto now = self->clock().now();
        self->state.alarm.rang(now);
        self->state.mind->on_wake(now);
        after();
      },
  };
}

}  // namespace

protocol::text_actor spawn_text(caf::actor_system& system, run_loop& loop, protocol::gateway_actor gateway,
                                text_options options, std::shared_ptr<board> board, metrics& figures) {
  return system.spawn<caf::detached>(text_actor, &loop, std::move(gateway), std::move(options), std::move(board),
                                     &figures);
}

}  // namespace shoal::gateway
