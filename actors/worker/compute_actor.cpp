#include "worker/compute_actor.hpp"

#include <map>
#include <memory>

#include <spdlog/spdlog.h>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "worker/served_model.hpp"

namespace shoal::worker {

namespace {

/// What is shown of a model that computes by a plan, from its first comparison with fp32 to its unloading.
class watch_figures {
 public:
  watch_figures(metrics& figures, const std::string& model, std::uint64_t version)
      : figures_(figures), labels_{{"model", model}, {"version", std::to_string(version)}} {}
  ~watch_figures() {
    figures_.remove(compared_name, compared_help, compared_);
    figures_.remove(breaches_name, breaches_help, breaches_);
    figures_.remove(error_name, error_help, error_);
    figures_.remove(alarms_name, alarms_help, alarms_);
  }
  watch_figures(const watch_figures&) = delete;
  watch_figures& operator=(const watch_figures&) = delete;

  /// Another plan: the counts go on.
  void begin_anew() { error_.Set(0); }

  void show(const watched& found) {
    compared_.Increment();
    error_.Set(found.error);
    if (found.is_breach) breaches_.Increment();
    if (!found.node.empty()) alarms_.Increment();
  }

 private:
  static constexpr auto compared_name = "shoal_worker_shadow_requests_total";
  static constexpr auto compared_help = "Requests that also ran in fp32, to be compared with the plan's answers";
  static constexpr auto breaches_name = "shoal_worker_plan_breaches_total";
  static constexpr auto breaches_help = "Plans given up, since their answers were too far from those in fp32";
  static constexpr auto error_name = "shoal_worker_shadow_error";
  static constexpr auto error_help = "Of the plan's answers against fp32's, over the last requests compared";

  static constexpr auto alarms_name = "shoal_worker_range_alarms_total";
  static constexpr auto alarms_help =
      "Batches in which a node's input was beyond what it reached when the plan was made; they are compared, too";

  metrics& figures_;
  metrics::labels labels_;
  prometheus::Counter& compared_ = figures_.counter(compared_name, compared_help, labels_);
  prometheus::Counter& breaches_ = figures_.counter(breaches_name, breaches_help, labels_);
  prometheus::Counter& alarms_ = figures_.counter(alarms_name, alarms_help, labels_);
  prometheus::Gauge& error_ = figures_.gauge(error_name, error_help, labels_);
};

struct actor_state {
  using model_key = std::pair<std::string, std::uint64_t>;
  std::map<model_key, std::shared_ptr<served_model>> models;
  std::map<model_key, watch_figures> watches;
  static inline const char* name = "shoal.compute";
};

using self_pointer = protocol::compute_actor::stateful_pointer<actor_state>;

protocol::compute_actor::behavior_type compute_actor(self_pointer self, run_loop* loop, compute_place place,
                                                     metrics* figures) {
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
        given.done({given.model->spec(), seconds, given.what.folder, given.model->target(), given.model->plan()});
      },
      [self, attempt](const protocol::adopt_plan& given) {
        const auto changed = attempt([&]() -> expected<void> {
          const auto found = self->state.models.find({given.what.name, given.what.version});
          if (found == self->state.models.end()) return fail(errc::not_found, "the model was unloaded meanwhile");
          return found->second->change_plan(given.plan, given.graph);
        });
        const auto watch = self->state.watches.find({given.what.name, given.what.version});
        if (changed && watch != self->state.watches.end()) watch->second.begin_anew();
        given.done({given.what.name, given.what.version, given.plan, changed ? "" : changed.error().message});
      },
      [self, answer](const protocol::unload& which) {
        self->state.models.erase({which.name, which.version});
        self->state.watches.erase({which.name, which.version});
        executor::trim_memory();
        answer(protocol::unloaded{which.name, which.version});
      },
      [self, attempt, answer, figures](const protocol::compute& batch) {
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
        const actor_state::model_key key{batch.model, batch.version};
        const auto model = self->state.models.find(key);
        if (model == self->state.models.end()) return;
        const auto shown = attempt([&]() -> expected<void> {
          auto seen = model->second->watch();
          if (seen && figures != nullptr)
            self->state.watches.try_emplace(key, *figures, key.first, key.second).first->second.show(*seen);
          if (seen && seen->is_breach)
            answer(protocol::given_up{key.first, key.second, seen->epoch, seen->error, seen->budget,
                                      static_cast<std::uint32_t>(seen->samples), seen->node, std::move(seen->inputs)});
          return {};
        });
        if (!shown)
          spdlog::warn("an answer of {} could not be compared with fp32: {}", key.first, shown.error().message);
      },
  };
}

}  // namespace

protocol::compute_actor spawn_compute(caf::actor_system& system, run_loop& loop, compute_place place,
                                      metrics* figures) {
  return system.spawn<caf::detached>(compute_actor, &loop, std::move(place), figures);
}

}  // namespace shoal::worker
