#include "unit/simulation/precision_process.hpp"

namespace shoal::test {

using namespace protocol;

namespace {

precision::precision_options options_of(const surroundings& with) {
  precision::precision_options options;
  options.instance = with.instance;
  options.device = plans_device;
  options.samples = 4;
  return options;
}

}  // namespace

precision_process::precision_process(surroundings with, model_directory& models)
    : process(std::move(with)),
      models_(models),
      mind_(options_of(with_), way(),
            {[this](planning_order order) { plan(std::move(order)); },
             [this](shelf_order order) { shelf(std::move(order)); }},
            figures_) {}

void precision_process::plan(planning_order order) {
  if (std::exchange(planning_, true)) with_.checks.fail("a precision service plans two models at a time");
  later(with_.time.between(milliseconds(20), milliseconds(400)), [this, order = std::move(order)] {
    planning_ = false;
    planning_done done{order.target, {}, "planned", order.mends != nullptr, 0.1};
    if (!with_.all_is_well && with_.time.chance(with_.of.failures)) {
      done.plan = fail(errc::unavailable, "there is no memory");
    } else {
      executor::precision_plan made;
      made.model = to_hex(order.target.archive);
      made.device = order.target.device;
      made.policy = order.policy;
      made.budget = order.budget;
      made.speedup = with_.time.between(1.5, 4);
      made.error = order.budget / 2;
      made.calibrated_on = order.samples.empty() ? executor::calibration::seeded : executor::calibration::traffic;
      using executor::precision;
      made.nodes["linear"].as = with_.time.chance(0.5) ? precision::int8 : precision::bf16;
      if (with_.time.chance(0.5)) made.nodes["linear_1"].as = precision::bf16;
      done.plan = std::make_shared<const executor::precision_plan>(std::move(made));
    }
    mind_.on(done, now());
  });
}

/// As planner_actor.cpp has it: looks but the first answer only if something has changed.
void precision_process::shelf(shelf_order order) {
  later(with_.time.between(microseconds(100), milliseconds(5)), [this, order = std::move(order)] {
    auto& lies_there = models_.plans[order.target];
    shelf_found answer{order.target, order.keep != nullptr, order.keep};
    if (order.keep) {
      lies_there = seen_[order.target] = order.keep;
    } else {
      const auto [known, is_new] = seen_.try_emplace(order.target, lies_there);
      if (!is_new && known->second == lies_there && !order.is_first) return;
      known->second = lies_there;
      if (lies_there)
        answer.plan = lies_there;
      else
        answer.plan = fail(errc::not_found, "there is no plan");
    }
    mind_.on(answer, now());
  });
}

}  // namespace shoal::test
