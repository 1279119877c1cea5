#include "precision/precision_actor.hpp"

#include <memory>

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "protocol/alarm.hpp"

namespace shoal::precision {

namespace {

struct actor_state {
  std::unique_ptr<precision_state> mind;
  protocol::alarm alarm;
  static inline const char* name = "shoal.precision";
};

using self_pointer = protocol::precision_actor::stateful_pointer<actor_state>;

protocol::precision_actor::behavior_type precision_actor(self_pointer self, protocol::planner_actor planner,
                                                         protocol::shelf_actor shelf, precision_options options,
                                                         protocol::link* link, metrics* figures) {
  self->state.mind = std::make_unique<precision_state>(
      std::move(options), *link,
      precision_state::port{[self, planner](protocol::planning_order order) { self->send(planner, std::move(order)); },
                            [self, shelf](protocol::shelf_order order) { self->send(shelf, std::move(order)); }},
      *figures);
  const auto hand_on = [self](auto& what) {
    self->state.mind->on(what, self->clock().now());
    self->state.alarm.set(self, self->state.mind->next_wake());
  };
  return {
      [hand_on](protocol::link_event& event) { hand_on(event); },
      [hand_on](protocol::planning_step& step) { hand_on(step); },
      [hand_on](protocol::planning_done& done) { hand_on(done); },
      [hand_on](protocol::shelf_found& found) { hand_on(found); },
      [self](protocol::wake_atom) {
        const auto now = self->clock().now();
        self->state.alarm.rang(now);
        self->state.mind->on_wake(now);
        self->state.alarm.set(self, self->state.mind->next_wake());
      },
  };
}

}  // namespace

protocol::precision_actor spawn_precision(caf::actor_system& system, protocol::planner_actor planner,
                                          protocol::shelf_actor shelf, precision_options options, protocol::link& link,
                                          metrics& figures) {
  return system.spawn(precision_actor, std::move(planner), std::move(shelf), std::move(options), &link, &figures);
}

}  // namespace shoal::precision
