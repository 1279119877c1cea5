#include "cache/cache_actor.hpp"

#include <memory>

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "protocol/alarm.hpp"

namespace shoal::cache {

namespace {

struct actor_state {
  std::unique_ptr<cache_state> mind;
  protocol::alarm alarm;
  static inline const char* name = "shoal.cache";
};

using self_pointer = protocol::cache_actor::stateful_pointer<actor_state>;

protocol::cache_actor::behavior_type cache_actor(self_pointer self, protocol::storage_actor storage_thread,
                                                 std::shared_ptr<storage> tiers, cache_options options,
                                                 protocol::link* link, metrics* figures) {
  options.name = tiers->name();
  options.has_disk = tiers->has_disk();
  self->state.mind = std::make_unique<cache_state>(options, *link,
                                                   cache_state::port{[self, storage_thread](protocol::object_job job) {
                                                                       self->send(storage_thread, std::move(job));
                                                                     },
                                                                     [tiers] { return tiers->memory().members(); }},
                                                   *figures, tiers->on_disk(), tiers->adopt());
  const auto after = [self] { self->state.alarm.set(self, self->state.mind->next_wake()); };
  return {
      [self, after](protocol::link_event& event) {
        self->state.mind->on(event, self->clock().now());
        after();
      },
      [self, after](protocol::object_done& done) {
        self->state.mind->on(done, self->clock().now());
        after();
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

protocol::cache_actor spawn_cache(caf::actor_system& system, protocol::storage_actor storage_thread,
                                  std::shared_ptr<storage> tiers, cache_options options, protocol::link& link,
                                  metrics& figures) {
  return system.spawn(cache_actor, std::move(storage_thread), std::move(tiers), options, &link, &figures);
}

}  // namespace shoal::cache
