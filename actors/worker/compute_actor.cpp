#include "worker/compute_actor.hpp"

#include <map>
#include <memory>

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "worker/served_model.hpp"

namespace shoal::worker {

namespace {

struct actor_state {
  std::map<std::pair<std::string, std::uint64_t>, std::shared_ptr<served_model>> models;
  static inline const char* name = "shoal.compute";
};

using self_pointer = protocol::compute_actor::stateful_pointer<actor_state>;

protocol::compute_actor::behavior_type compute_actor(self_pointer self, run_loop* loop, compute_place place) {
  take_place(place);
  // What throws here (memory that is not there, above all) fails what was asked, not the thread: its worker would wait
  // for an answer for ever.
  const auto attempt = [](auto&& work) -> decltype(work()) {
    try {
      return work();
    } catch (const std::exception& problem) {
      return fail(errc::internal, std::string("the worker failed: ") + problem.what());
    }
  };
  const auto answer = [self, loop](auto result) {
    if (const auto worker = caf::actor_cast<protocol::worker_actor>(self->current_sender()))
      loop->send(worker, std::move(result));
  };
  return {
      [self, attempt](const protocol::adopt& given) {
        const auto begin = steady::now();
        const auto ready = attempt([&] { return given.model->make_ready(); });
        const auto seconds = given.seconds + std::chrono::duration<double>(steady::now() - begin).count();
        if (!ready) return given.done(protocol::failed_load(given.what, ready.error().message, seconds));
        self->state.models[{given.what.name, given.what.version}] = given.model;
        given.done({given.model->spec(), seconds});
      },
      [self, answer](const protocol::unload& which) {
        self->state.models.erase({which.name, which.version});
        trim_memory();
        answer(protocol::unloaded{which.name, which.version});
      },
      [self, attempt, answer](const protocol::compute& batch) {
        auto result = attempt([&]() -> expected<protocol::computed> {
          const auto found = self->state.models.find({batch.model, batch.version});
          if (found == self->state.models.end()) return fail(errc::not_found, "this worker does not hold the model");
          return found->second->run(batch);
        });
        if (!result) {
          protocol::computed failed;
          failed.results.assign(batch.members.size(), tl::unexpected(result.error()));
          result = std::move(failed);
        }
        result->batch = batch.batch;
        answer(std::move(*result));
      },
  };
}

}  // namespace

protocol::compute_actor spawn_compute(caf::actor_system& system, run_loop& loop, compute_place place) {
  return system.spawn<caf::detached>(compute_actor, &loop, std::move(place));
}

}  // namespace shoal::worker
