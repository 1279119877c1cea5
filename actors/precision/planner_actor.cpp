#include "precision/planner_actor.hpp"

#include <map>
#include <memory>
#include <utility>

#include <sched.h>
#include <sys/resource.h>

#include <spdlog/spdlog.h>
#include <caf/stateful_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include "core/memory_room.hpp"
#include "executor/model.hpp"
#include "executor/model_directory.hpp"
#include "precision/planner.hpp"
#include "precision/processor_clock.hpp"

namespace shoal::precision {

namespace {

namespace fs = std::filesystem;
using executor::precision_plan;

struct planner_state {
  static inline const char* name = "shoal.planner";
};

struct shelf_state {
  /// What was seen last, by the plan's file: its time and size.
  std::map<fs::path, std::pair<fs::file_time_type, std::uintmax_t>> seen;
  static inline const char* name = "shoal.shelf";
};

/// Only when nothing else wants a processor; the team of compute threads, made later, inherits it.
void step_back() {
  const sched_param none{};
  if (::sched_setscheduler(0, SCHED_IDLE, &none) != 0 && ::setpriority(PRIO_PROCESS, 0, 19) != 0)
    spdlog::warn("precision: planning runs at the priority of everything else, since it cannot be lowered");
}

expected<fs::path> archive_of(const fs::path& models, const protocol::plan_target& target) {
  const auto found = executor::find_version(models, target.model, target.version);
  if (!found) return tl::unexpected(found.error());
  return found->folder / "model.pt2";
}

expected<planning_result> carry_out(const fs::path& models, const executor::device& on,
                                    const protocol::planning_order& order,
                                    const std::function<void(std::string_view, double)>& progress) {
  const auto archive = archive_of(models, order.target);
  if (!archive) return tl::unexpected(archive.error());
  // Its weights lie here in every precision that is tried.
  std::error_code problem;
  const auto weights = fs::file_size(*archive, problem);
  const auto free = available_memory();
  if (!problem && weights > free / 3)
    return fail(errc::too_large, "it stays as it is: planning takes about three times the " +
                                     std::to_string(weights >> 20) + " MiB of the archive, and " +
                                     std::to_string(free >> 20) + " MiB are free: give this service more memory");
  planning how;
  how.on = on;
  how.policy = order.policy;
  how.budget = order.budget;
  how.seconds = order.seconds;
  how.samples = order.samples;
  how.samples_are = executor::calibration::traffic;
  how.leaves_out_unusable = true;
  how.progress = progress;
  how.is_wanted = [&] { return !order.stop->load(); };
  auto made = order.mends ? mend_plan(*archive, *order.mends, how) : plan_precision(*archive, how);
  if (!made) return made;
  if (made->plan.model != to_hex(order.target.archive))
    return fail(errc::incompatible,
                "the archive in this service's model directory is another one than the worker's: give both the same");
  if (!(made->plan.error < 1))
    return fail(errc::invalid_argument, "by the policy " + order.policy +
                                            " the outputs are off by more than they are large: " + "it stays as it is");
  // What workers hold it to: not what was aimed at, if it was measured to err more.
  made->plan.budget = std::max(made->plan.error, order.budget);
  return made;
}

protocol::planner_actor::behavior_type planner_actor(protocol::planner_actor::stateful_pointer<planner_state> self,
                                                     run_loop* loop, fs::path models, int threads,
                                                     executor::device on) {
  step_back();
  executor::set_compute_threads(threads);
  return {
      [=](const protocol::planning_order& order) {
        const auto to = caf::actor_cast<protocol::precision_actor>(self->current_sender());
        if (!to) return;
        const auto begin = processor_seconds();
        double told = -1;
        const auto progress = [&](std::string_view phase, double share) {
          if (const auto now = processor_seconds(); now - told > 0.2) {
            told = now;
            loop->send(to, protocol::planning_step{order.target, std::string(phase), share});
          }
        };
        protocol::planning_done done{order.target, {}, {}, order.mends != nullptr, 0};
        try {
          auto made = carry_out(models, on, order, progress);
          if (made) {
            done.said = made->verdict;
            done.plan = std::make_shared<const precision_plan>(std::move(made->plan));
          } else {
            done.plan = tl::unexpected(made.error());
          }
        } catch (const std::exception& wrong) {  // memory that is not there, above all
          done.plan = fail(errc::internal, std::string("planning failed: ") + wrong.what());
        }
        executor::trim_memory();
        done.seconds = processor_seconds() - begin;
        loop->send(to, std::move(done));
      },
  };
}

protocol::shelf_actor::behavior_type shelf_actor(protocol::shelf_actor::stateful_pointer<shelf_state> self,
                                                 run_loop* loop, fs::path models) {
  return {
      [=](const protocol::shelf_order& order) {
        const auto to = caf::actor_cast<protocol::precision_actor>(self->current_sender());
        if (!to) return;
        const auto tell = [&](bool is_kept, expected<std::shared_ptr<const precision_plan>> plan) {
          loop->send(to, protocol::shelf_found{order.target, is_kept, std::move(plan)});
        };
        const auto archive = archive_of(models, order.target);
        if (!archive) {
          if (order.keep || order.is_first) tell(order.keep != nullptr, tl::unexpected(archive.error()));
          return;
        }
        const auto file = executor::plan_path(*archive, order.target.device);
        const auto stamp = [&]() -> std::pair<fs::file_time_type, std::uintmax_t> {
          std::error_code missing;
          const auto time = fs::last_write_time(file, missing);
          const auto size = fs::file_size(file, missing);
          if (missing) return {};
          return {time, size};
        };
        auto& seen = self->state.seen;
        if (order.keep) {
          const auto kept = executor::write_plan(file, *order.keep);
          if (kept) seen[file] = stamp();
          if (kept) return tell(true, order.keep);
          return tell(true, tl::unexpected(kept.error()));
        }
        const auto now = stamp();
        const auto [known, is_new] = seen.try_emplace(file, now);
        if (!is_new && known->second == now && !order.is_first) return;
        known->second = now;
        auto plan = executor::read_plan(file);
        if (plan && (plan->model != to_hex(order.target.archive) || plan->device != order.target.device))
          return tell(false, fail(errc::incompatible, file.string() + " is for another model or another device"));
        if (!plan) return tell(false, tl::unexpected(plan.error()));
        tell(false, std::make_shared<const precision_plan>(*std::move(plan)));
      },
  };
}

}  // namespace

protocol::planner_actor spawn_planner(caf::actor_system& system, run_loop& loop, fs::path models, int threads,
                                      const executor::device& on) {
  return system.spawn<caf::detached>(planner_actor, &loop, std::move(models), threads, on);
}

protocol::shelf_actor spawn_shelf(caf::actor_system& system, run_loop& loop, fs::path models) {
  return system.spawn<caf::detached>(shelf_actor, &loop, std::move(models));
}

}  // namespace shoal::precision
