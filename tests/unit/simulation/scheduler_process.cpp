#include "unit/simulation/scheduler_process.hpp"

#include <spdlog/fmt/fmt.h>

namespace shoal::test {

namespace {

scheduler::scheduler_options options_of(const surroundings& with) {
  scheduler::scheduler_options options;
  options.instance = with.instance;
  options.max_queue = with.of.max_queue;
  return options;
}

}  // namespace

scheduler_process::scheduler_process(surroundings with, profile_text& kept)
    : process(std::move(with)), profiles_(kept, with_.checks), mind_(options_of(with_), way(), figures_, &profiles_) {}

void scheduler_process::examine() {
  // What comes back from workers that were lost was let in before: at most what they may have had.
  const auto bound = with_.of.models.size() * 2 * (with_.of.max_queue + with_.of.workers * 2 * 1024);
  if (mind_.queued() > bound) with_.checks.fail(fmt::format("{} requests wait at a scheduler", mind_.queued()));
}

std::string scheduler_process::left() const {
  if (mind_.queued() != 0) return fmt::format("{} request(s) that wait at a scheduler", mind_.queued());
  return mind_.in_flight() == 0 ? "" : fmt::format("{} request(s) in batches of a scheduler", mind_.in_flight());
}

double scheduler_process::recalled() {
  for (const auto& [known, value] : figures_.snapshot())
    if (known == "shoal_scheduler_recalled_total") return value;
  return 0;
}

}  // namespace shoal::test
