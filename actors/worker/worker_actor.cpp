#include "worker/worker_actor.hpp"

#include <memory>

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "protocol/alarm.hpp"

namespace shoal::worker {

namespace {

struct actor_state {
  std::unique_ptr<worker_state> mind;
  protocol::alarm alarm;
  std::vector<caf::typed_response_promise<protocol::drained_atom>> drains;
  static inline const char* name = "shoal.worker";
};

using self_pointer = protocol::worker_actor::stateful_pointer<actor_state>;

protocol::worker_actor::behavior_type worker_actor(self_pointer self, protocol::loader_actor loader,
                                                   protocol::compute_actor compute, worker_options options,
                                                   protocol::link* link, std::vector<protocol::load> models,
                                                   metrics* figures, std::shared_ptr<cache_client> caches) {
  auto& state = self->state;
  state.mind = std::make_unique<worker_state>(
      options, *link,
      worker_state::compute_port{[self, loader](protocol::lookup what) { self->send(loader, std::move(what)); },
                                 [self, loader](protocol::load request) { self->send(loader, std::move(request)); },
                                 [self, compute](protocol::compute job) { self->send(compute, std::move(job)); },
                                 [self, compute](protocol::unload which) { self->send(compute, std::move(which)); },
                                 [self, loader](protocol::replan what) { self->send(loader, std::move(what)); }},
      *figures);
  state.mind->load(std::move(models));
  auto after = [self] {
    auto& state = self->state;
    state.alarm.set(self, state.mind->next_wake());
    if (state.drains.empty() || !state.mind->idle()) return;
    for (auto& drain : std::exchange(state.drains, {})) drain.deliver(protocol::drained_atom::value);
  };
  return {
      [self, after, caches](protocol::link_event& event) {
        if (caches && caches->on(event)) return;
        self->state.mind->on(event, self->clock().now());
        after();
      },
      [self, after](protocol::found& found) {
        self->state.mind->on(found, self->clock().now());
        after();
      },
      [self, after](protocol::loaded& loaded) {
        self->state.mind->on(loaded, self->clock().now());
        after();
      },
      [self, after](protocol::unloaded& unloaded) {
        self->state.mind->on(unloaded, self->clock().now());
        after();
      },
      [self, after](protocol::computed& computed) {
        self->state.mind->on(computed, self->clock().now());
        after();
      },
      [self](protocol::replanned& done) { self->state.mind->on(done); },
      [self](protocol::given_up& what) { self->state.mind->on(what); },
      [self, after](protocol::wake_atom) {
        const auto now = self->clock().now();
        self->state.alarm.rang(now);
        self->state.mind->on_wake(now);
        after();
      },
      [self, after](protocol::drain_atom) {
        auto promise = self->make_response_promise<protocol::drained_atom>();
        self->state.mind->start_draining();
        self->state.drains.push_back(promise);
        after();
        return promise;
      },
  };
}

}  // namespace

protocol::worker_actor spawn_worker(caf::actor_system& system, protocol::loader_actor loader,
                                    protocol::compute_actor compute, worker_options options, protocol::link& link,
                                    std::vector<protocol::load> models, metrics& figures,
                                    std::shared_ptr<cache_client> caches) {
  return system.spawn(worker_actor, std::move(loader), std::move(compute), options, &link, std::move(models), &figures,
                      std::move(caches));
}

}  // namespace shoal::worker
