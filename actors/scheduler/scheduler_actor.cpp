#include "scheduler/scheduler_actor.hpp"

#include <memory>

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "protocol/alarm.hpp"

namespace shoal::scheduler {

namespace {

struct actor_state {
  std::shared_ptr<profile_store> profiles;
  std::unique_ptr<scheduler_state> mind;
  protocol::alarm alarm;
  static inline const char* name = "shoal.scheduler";
};

using self_pointer = protocol::scheduler_actor::stateful_pointer<actor_state>;

protocol::scheduler_actor::behavior_type scheduler_actor(self_pointer self, scheduler_options options,
                                                         protocol::link* link, metrics* figures,
                                                         std::shared_ptr<profile_store> profiles) {
  self->state.profiles = std::move(profiles);
  self->state.mind = std::make_unique<scheduler_state>(options, *link, *figures, self->state.profiles.get());
  return {
      [self](protocol::link_event& event) {
        self->state.mind->on(event, self->clock().now());
        self->state.alarm.set(self, self->state.mind->next_wake());
      },
      [self](protocol::wake_atom) {
        const auto now = self->clock().now();
        self->state.alarm.rang(now);
        self->state.mind->on_wake(now);
        self->state.alarm.set(self, self->state.mind->next_wake());
      },
  };
}

}  // namespace

protocol::scheduler_actor spawn_scheduler(caf::actor_system& system, scheduler_options options, protocol::link& link,
                                          metrics& figures, std::shared_ptr<profile_store> profiles) {
  return system.spawn(scheduler_actor, options, &link, &figures, std::move(profiles));
}

}  // namespace shoal::scheduler
