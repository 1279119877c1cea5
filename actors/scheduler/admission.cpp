// The part of the scheduler's mind that foretells (scheduler_state.hpp): when a request would be done, whether that is
// in time, and what batches really took.
//
//   end = now + (what runs and is staged + what waits and goes before it) / workers / (1 - higher) + its own batch
//
// What goes before it is, by class and deadline, what waits for its model, and all of its class and above that waits
// for other models of the same workers. `higher` is the part of the workers that higher classes have asked for of late:
// while it waits, more of them come and go before it (Cobham, Priority assignment in waiting line problems, 1954).
//
// To that comes a margin: what such predictions for its class have lacked of late, the mean and twice the mean
// deviation of (measured - predicted end), as in RFC 6298; at most half of the time the request has, so that some are
// let in and the margin is measured anew.
#include <algorithm>
#include <cmath>
#include <string>

#include <spdlog/spdlog.h>

#include "scheduler/scheduler_state.hpp"

namespace shoal::scheduler {

using namespace protocol;

namespace {

microseconds in_microseconds(steady::duration time) { return std::chrono::duration_cast<microseconds>(time); }

constexpr std::chrono::duration<double> taken_window{1};
constexpr double least_left = 0.002;  ///< of the workers, for the lower classes

std::string milliseconds_text(microseconds time) {
  return std::to_string(std::chrono::round<milliseconds>(time).count()) + " ms";
}

}  // namespace

void scheduler_state::taken::add(microseconds cost, time_point now) {
  seconds = workers(now) * taken_window.count() + std::chrono::duration<double>(cost).count();
  as_of = now;
}

double scheduler_state::taken::workers(time_point now) const {
  const auto age = std::chrono::duration<double>(now - as_of);
  return seconds * std::exp(-age / taken_window) / taken_window.count();
}

expected<void> scheduler_state::predict(const model_key& key, model& model, waiting& request, time_point now) {
  const auto* profile = model.workers.usual_profile();
  if (profile == nullptr || profile->empty() || model.workers.workers() == 0) return {};
  const batch_size one{request.profile.rows, request.profile.length};
  request.cost = in_microseconds(*profile->share_of(one));
  const auto own = in_microseconds(*profile->predict(one));
  // With nobody before it it is tried in any case: a measurement that is out of date must not refuse for ever.
  const auto rank = rank_of(request.request.priority);
  if (queued_ == 0 && model.workers.has_idle()) {
    taken_[static_cast<std::size_t>(rank - 1)].add(request.cost, now);
    return {};
  }

  const auto workers = static_cast<std::int64_t>(model.workers.workers());
  auto elsewhere = model.workers.backlog(now);
  for (const auto& [other, waits] : models_)
    if (&waits != &model && !waits.queue.empty())
      elsewhere += waits.queue.ahead_of(rank, request.deadline, true) *
                   static_cast<std::int64_t>(std::min(waits.workers.workers(), model.workers.workers())) /
                   static_cast<std::int64_t>(std::max<std::size_t>(waits.workers.workers(), 1));
  const auto time_left = in_microseconds(request.deadline - now);
  const auto& late = model.late[static_cast<std::size_t>(rank - 1)];
  const auto margin =
      std::clamp(late.mean + 2 * late.deviation, microseconds::zero(), std::max(time_left / 2, microseconds::zero()));
  double higher = 0;
  for (int other = 1; other < rank; ++other) higher += taken_[static_cast<std::size_t>(other - 1)].workers(now);
  const auto left = std::max(1 - higher / static_cast<double>(workers), least_left);
  const auto end_with = [&](bool whole_class) {
    const auto ahead = elsewhere + model.queue.ahead_of(rank, request.deadline, whole_class);
    return microseconds(std::llround(static_cast<double>(ahead.count()) / static_cast<double>(workers) / left)) + own;
  };
  auto end = end_with(true);  // at least what it will be, and known at once
  if (options_.predict && end + margin > time_left) {
    end = end_with(false);
    if (end + margin > time_left) {
      error refusal{errc::overloaded, "model '" + key.first + "' version " + std::to_string(key.second) +
                                          " would answer in about " + milliseconds_text(end + margin) +
                                          ", and the request has " + milliseconds_text(time_left) +
                                          ": try again later, or give it more time"};
      refusal.retry_after =
          std::clamp(std::chrono::ceil<milliseconds>(end + margin - time_left), milliseconds(1), milliseconds(60000));
      return tl::unexpected(std::move(refusal));
    }
  }
  request.predicted = now + end;
  taken_[static_cast<std::size_t>(rank - 1)].add(request.cost, now);
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
  auto& known = model.late[static_cast<std::size_t>(rank_of(request.request.priority) - 1)];
  const auto late = in_microseconds(now - request.predicted);
  known.deviation += (std::chrono::abs(late - known.mean) - known.deviation) / 16;
  known.mean += (late - known.mean) / 16;
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
