#include "worker/worker_actor.hpp"

#include <memory>

#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "protocol/alarm.hpp"
#include "worker/compute_actor.hpp"

namespace shoal::worker {

namespace {

struct actor_state {
  std::unique_ptr<worker_state> mind;
  protocol::compute_actor compute;
  protocol::alarm alarm;
  std::vector<caf::typed_response_promise<protocol::drained_atom>> drains;
  static inline const char* name = "shoal.worker";
};

using self_pointer = protocol::worker_actor::stateful_pointer<actor_state>;

protocol::worker_actor::behavior_type worker_actor(self_pointer self, run_loop* loop, worker_options options,
                                                   protocol::link* link, std::vector<protocol::load> models,
                                                   metrics* figures) {
  auto& state = self->state;
  // Weak: the compute thread must not keep the worker alive that owns it.
  state.compute = spawn_compute(self->system(), [loop, weak = caf::weak_actor_ptr(self->ctrl())](compute_answer answer) {
    auto strong = weak.lock();
    if (!strong) return;
    auto worker = caf::actor_cast<protocol::worker_actor>(strong);
    std::visit([&](auto& result) { loop->send(worker, std::move(result)); }, answer);
  });
  self->link_to(state.compute);
  state.mind = std::make_unique<worker_state>(
      options, *link,
      worker_state::compute_port{
          [compute = state.compute](protocol::load request) { caf::anon_send(compute, std::move(request)); },
          [compute = state.compute](protocol::compute job) { caf::anon_send(compute, std::move(job)); }},
      *figures);
  state.mind->load(std::move(models));
  auto after = [self] {
    auto& state = self->state;
    state.alarm.set(self, state.mind->next_wake());
    if (state.drains.empty() || !state.mind->idle()) return;
    for (auto& drain : std::exchange(state.drains, {})) drain.deliver(protocol::drained_atom::value);
  };
  return {
      [self, after](protocol::link_event& event) {
        self->state.mind->on(event, self->clock().now());
        after();
      },
      [self, after](protocol::loaded& loaded) {
        self->state.mind->on(loaded, self->clock().now());
        after();
      },
      [self, after](protocol::computed& computed) {
        self->state.mind->on(computed, self->clock().now());
        after();
      },
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

protocol::worker_actor spawn_worker(caf::actor_system& system, run_loop& loop, worker_options options,
                                    protocol::link& link, std::vector<protocol::load> models, metrics& figures) {
  return system.spawn(worker_actor, &loop, options, &link, std::move(models), &figures);
}

}  // namespace shoal::worker
