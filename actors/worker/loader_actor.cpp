#include "worker/loader_actor.hpp"

#include <memory>

#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "executor/model_directory.hpp"
#include "worker/served_model.hpp"

namespace shoal::worker {

namespace {

struct actor_state {
  static inline const char* name = "shoal.loader";
};

std::string without(std::string text, const std::string& part) {
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at)) text.erase(at, part.size());
  return text;
}

using self_pointer = protocol::loader_actor::stateful_pointer<actor_state>;

protocol::loader_actor::behavior_type loader_actor(self_pointer self, run_loop* loop, protocol::compute_actor compute,
                                                   std::filesystem::path models, loading how) {
  executor::set_compute_threads(how.threads);
  const auto worker = [self] { return caf::actor_cast<protocol::worker_actor>(self->current_sender()); };
  // What throws (memory that is not there, above all) fails what was asked: its worker would wait for ever. Errors go
  // to clients: where the model directory lies is not theirs to know.
  const auto attempt = [folder = models.string() + "/"](auto&& work) -> decltype(work()) {
    try {
      auto done = work();
      if (!done) {
        auto why = done.error();
        why.message = without(std::move(why.message), folder);
        done = tl::unexpected(std::move(why));
      }
      return done;
    } catch (const std::exception& problem) {
      return fail(errc::internal, without(std::string("the worker failed: ") + problem.what(), folder));
    }
  };
  return {
      [=](const protocol::lookup& question) {
        protocol::found answer{
            question.key, attempt([&] { return executor::find_version(models, question.model, question.version); })};
        if (const auto to = worker()) loop->send(to, std::move(answer));
      },
      [=](const protocol::load& request) {
        const auto begin = steady::now();
        auto model = attempt([&] { return served_model::prepare(request, how); });
        const auto seconds = std::chrono::duration<double>(steady::now() - begin).count();
        const auto done = [loop, to = worker()](protocol::loaded result) {
          if (to) loop->send(to, std::move(result));
        };
        if (!model) return done(protocol::failed_load(request, model.error().message, seconds));
        self->send(compute, protocol::adopt{std::shared_ptr<served_model>(*std::move(model)), request, seconds, done});
      },
      [=](const protocol::replan& request) {
        const auto done = [loop, to = worker()](protocol::replanned result) {
          if (to) loop->send(to, std::move(result));
        };
        auto graph = attempt([&] { return served_model::prepare_plan(request, how); });
        if (!graph) return done({request.what.name, request.what.version, request.plan, graph.error().message});
        self->send(compute, protocol::adopt_plan{request.what, request.plan, *std::move(graph), done});
      },
  };
}

}  // namespace

protocol::loader_actor spawn_loader(caf::actor_system& system, run_loop& loop, protocol::compute_actor compute,
                                    std::filesystem::path models, loading how) {
  return system.spawn<caf::detached>(loader_actor, &loop, std::move(compute), std::move(models), std::move(how));
}

}  // namespace shoal::worker
