// The part of the scheduler's mind that foretells (scheduler_state.hpp): when a request would be done, whether that is
// in time, and what batches really took.
//
//   end = now + (what runs and is staged + what waits and goes before it) / workers + its own batch + margin
//
// What goes before it is, by class and deadline, what waits for its model, and all of its class and above that waits
// for other models of the same workers. The margin is what such predictions have lacked of late: mean plus twice the
// mean deviation of (measured - predicted end), as in RFC 6298, at most a quarter of the time the request has.
#include <algorithm>
#include <string>

#include <spdlog/spdlog.h>

#include "scheduler/scheduler_state.hpp"

namespace shoal::scheduler {

using namespace protocol;

namespace {

microseconds in_microseconds(steady::duration time) { return std::chrono::duration_cast<microseconds>(time); }

std::string milliseconds_text(microseconds time) {
  return std::to_string(std::chrono::round<milliseconds>(time).count()) + " ms";
}

}  // namespace

expected<void> scheduler_state::predict(const model_key& key, model& model, waiting& request, time_point now) const {
  const auto* profile = model.workers.usual_profile();
  if (profile == nullptr || profile->empty() || model.workers.workers() == 0) return {};
  const batch_size one{request.profile.rows, request.profile.length};
  request.cost = in_microseconds(*profile->share_of(one));
  const auto own = in_microseconds(*profile->predict(one));
  // With nobody before it it is tried in any case: a measurement that is out of date must not refuse for ever.
  if (queued_ == 0 && model.workers.has_idle()) return {};

  const auto rank = rank_of(request.request.priority);
  const auto workers = static_cast<std::int64_t>(model.workers.workers());
  auto elsewhere = model.workers.backlog(now);
  for (const auto& [other, waits] : models_)
    if (&waits != &model && !waits.queue.empty())
      elsewhere += waits.queue.ahead_of(rank, request.deadline, true) *
                   static_cast<std::int64_t>(std::min(waits.workers.workers(), model.workers.workers())) /
                   static_cast<std::int64_t>(std::max<std::size_t>(waits.workers.workers(), 1));
  const auto time_left = in_microseconds(request.deadline - now);
  const auto margin = std::clamp(model.late_by + 2 * model.late_deviation, microseconds::zero(),
                                 std::max(time_left / 4, microseconds::zero()));
  const auto end_with = [&](bool whole_class) {
    return (elsewhere + model.queue.ahead_of(rank, request.deadline, whole_class)) / workers + own;
  };
  auto end = end_with(true);  // at least what it will be, and known at once
  if (options_.predict && end + margin > time_left) {
    end = end_with(false);
    if (end + margin > time_left) {
      error late{errc::overloaded, "model '" + key.first + "' version " + std::to_string(key.second) +
                                       " would answer in about " + milliseconds_text(end + margin) +
                                       ", and the request has " + milliseconds_text(time_left) +
                                       ": try again later, or give it more time"};
      late.retry_after =
          std::clamp(std::chrono::ceil<milliseconds>(end + margin - time_left), milliseconds(1), milliseconds(60000));
      return tl::unexpected(std::move(late));
    }
  }
  request.predicted = now + end;
  return {};
}

error scheduler_state::queue_is_full(const model_key& key, const model& model) const {
  error full{errc::overloaded, std::to_string(model.queue.size()) + " requests wait for model '" + key.first +
                                   "' version " + std::to_string(key.second) + " already: try again later"};
  const auto waits = model.queue.ahead_of(rank_of(priority::batch), {}, true);
  const auto workers = static_cast<std::int64_t>(std::max<std::size_t>(model.workers.workers(), 1));
  // By then, half of them are gone.
  full.retry_after =
      std::clamp(std::chrono::ceil<milliseconds>(waits / workers / 2), milliseconds(10), milliseconds(60000));
  return full;
}

void scheduler_state::note_end(model& model, const waiting& request, time_point now) {
  if (request.predicted == time_point{}) return;
  const auto late = in_microseconds(now - request.predicted);
  model.late_deviation += (std::chrono::abs(late - model.late_by) - model.late_deviation) / 16;
  model.late_by += (late - model.late_by) / 16;
}

void scheduler_state::learn(const running_batch& batch, worker& worker, const completion& told, time_point now) {
  if (!batch.started || told.rows == 0) return;
  auto* profile = &book_.of(batch.model.first, batch.model.second, worker.device);
  // The way there and back belongs to a batch; what else its worker did meanwhile (another scheduler's batch, a payload
  // to fetch) does not.
  constexpr milliseconds longest_way{1};
  const auto took = std::min<steady::duration>(now - batch.started_at, told.compute_time + longest_way);
  const bool failed = told.failed != 0 && told.failed == told.finished.size();
  // What is shorter is measured by how the system shares out its cores, not by the worker's pace.
  constexpr microseconds least_for_pace{1000};
  std::optional<double> ratio;
  if (batch.predicted && *batch.predicted >= least_for_pace)
    ratio = std::chrono::duration<double>(took) / std::chrono::duration<double>(*batch.predicted);
  if (!failed) {
    profile->learn({told.rows, batch.shape.longest}, took);
    book_.note_change();
  }
  if (!workers_.judge(worker, failed ? std::nullopt : ratio, failed, now)) return;
  ejections_.Increment();
  spdlog::warn("worker {:x} is given no work for a while: {}", worker.instance,
               failed ? "its batches fail" : "it is much slower than the others of its kind");
}

}  // namespace shoal::scheduler
