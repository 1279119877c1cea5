// The part of the scheduler's mind that foretells (scheduler_state.hpp): when a request would be done, whether that is
// in time, and what batches really took.
//
//   end = now + (what runs and is staged + what waits and goes before it) / workers / (1 - higher) + its own batch
//
// Of the workers it counts the part of their time that this scheduler gets when it wants it (time_share.hpp): others
// have work for them, too. Workers that were lost a moment ago count: they come back, in about the time that others
// needed for it.
//
// What goes before it is, by class and deadline, what waits for its model, and all of its class and above that waits
// for other models of the same workers. `higher` is the part of the workers that higher classes have asked for of late:
// while it waits, more of them come and go before it (Cobham, Priority assignment in waiting line problems, 1954).
//
// To that comes a margin: what such predictions for its class have lacked of late, the mean and twice the mean
// deviation of (measured - predicted end), as in RFC 6298; at most half of the time the request has, so that some are
// let in and the margin is measured anew.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include <spdlog/spdlog.h>

#include "scheduler/scheduler_state.hpp"

namespace shoal::scheduler {

using namespace protocol;

namespace {

microseconds in_microseconds(steady::duration time) { return std::chrono::duration_cast<microseconds>(time); }

/// A second and several: what came all at once, after an outage, waits already and does not come again; what is over is
/// over.
constexpr std::array<std::chrono::duration<double>, 2> taken_windows{std::chrono::seconds(1), std::chrono::seconds(8)};
constexpr std::chrono::duration<double> lateness_window{1};
/// Of the workers, for the lower classes: one batch in so many is begun with who has waited longest, whatever its
/// class.
constexpr double least_left = 1.0 / model_queue::turn_of_the_old;

std::string milliseconds_text(microseconds time) {
  return std::to_string(std::chrono::round<milliseconds>(time).count()) + " ms";
}

}  // namespace

void scheduler_state::taken::add(microseconds cost, time_point now) {
  const auto age = std::chrono::duration<double>(now - as_of);
  for (std::size_t i = 0; i < seconds.size(); ++i)
    seconds[i] = seconds[i] * std::exp(-age / taken_windows[i]) + std::chrono::duration<double>(cost).count();
  as_of = now;
}

void scheduler_state::model::lateness::note(microseconds late, time_point now) {
  const auto age = std::chrono::duration<double>(now - as_of);
  weight = weight * std::max(15.0 / 16, std::exp(-age / lateness_window)) + 1;
  const auto apart = static_cast<double>(late.count()) - mean;
  mean += apart / weight;
  deviation += (std::abs(apart) - deviation) / weight;
  as_of = now;
}

double scheduler_state::taken::workers(time_point now) const {
  const auto age = std::chrono::duration<double>(now - as_of);
  auto least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < seconds.size(); ++i)
    least = std::min(least, seconds[i] * std::exp(-age / taken_windows[i]) / taken_windows[i].count());
  return least;
}

expected<void> scheduler_state::predict(const model_key& key, model& model, waiting& request, time_point now) {
  const auto* profile = model.workers.usual_profile();
  if (profile == nullptr || profile->empty() || model.workers.workers() == 0) return {};
  const batch_size one{request.profile.rows, request.profile.length};
  request.cost = in_microseconds(*profile->share_of(one));
  // Where others wait, it runs with some of them.
  const auto own =
      std::max(in_microseconds(*profile->predict(one)), model.queue.empty() ? microseconds{} : model.batch_time);
  const auto rank = rank_of(request.request.priority);
  auto& taken_by_class = taken_[static_cast<std::size_t>(rank - 1)];
  // With nobody before it, it is tried in any case: a measurement that is out of date must not refuse for ever.
  if (awaited_.empty() && model.workers.has_idle(now)) {
    taken_by_class.add(request.cost, now);
    return {};
  }

  const auto workers = model.workers.capacity(now);
  auto elsewhere = model.workers.backlog(now);
  for (const auto& [number, other] : awaited_)
    if (const auto& waits = *other; &waits != &model)
      elsewhere += waits.queue.ahead_of(rank, request.deadline, true) *
                   static_cast<std::int64_t>(std::min(waits.workers.workers(), model.workers.workers())) /
                   static_cast<std::int64_t>(std::max<std::size_t>(waits.workers.workers(), 1));
  const auto time_left = in_microseconds(request.deadline - now);
  const auto& late = model.late[static_cast<std::size_t>(rank - 1)];
  const auto lacked = microseconds(std::llround(late.mean + 2 * late.deviation));
  const auto margin = std::clamp(lacked, microseconds::zero(), std::max(time_left / 2, microseconds::zero()));
  double higher = 0;
  for (int other = 1; other < rank; ++other) higher += taken_[static_cast<std::size_t>(other - 1)].workers(now);
  const auto left = std::max(1 - higher / workers, least_left);
  const auto end_with = [&](bool whole_class) {
    const auto ahead = elsewhere + model.queue.ahead_of(rank, request.deadline, whole_class);
    return microseconds(std::llround(static_cast<double>(ahead.count()) / workers / left)) + own;
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
  taken_by_class.add(request.cost, now);
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
  model.late[static_cast<std::size_t>(rank_of(request.request.priority) - 1)].note(
      in_microseconds(now - request.predicted), now);
}

std::optional<steady::duration> scheduler_state::time_of(const running_batch& batch, const completion& told,
                                                         time_point now) {
  if (!batch.started || told.rows == 0) return std::nullopt;
  // The way there and back belongs to a batch; what else its worker did meanwhile (another scheduler's batch, a payload
  // to fetch) does not.
  constexpr milliseconds longest_way{1};
  return std::min<steady::duration>(now - batch.started_at, told.compute_time + longest_way);
}

/// Where it waited for its worker, or others did in its place: how much of that time was ours.
void scheduler_state::note_share(const running_batch& batch, worker& worker, const completion& told, time_point now) {
  const auto got = time_of(batch, told, now);
  if (!got) return;  // what never ran: it goes on waiting
  if (worker.kept_since) workers_.note_share(worker, *got, now - *worker.kept_since, now);
  worker.kept_since.reset();
  if (!fleet::is_ejected(worker) && (worker.batches.size() > 1 || is_wanted_since(worker, now)))
    worker.kept_since = now;
}

/// Whether requests that this worker could run have waited all the time since then.
bool scheduler_state::is_wanted_since(const worker& worker, time_point then) const {
  return std::any_of(awaited_.begin(), awaited_.end(), [&](const auto& entry) {
    const auto& model = *entry.second;
    return model.awaited_since <= then && worker.models.contains(*model.key);
  });
}

void scheduler_state::learn(const running_batch& batch, worker& worker, const completion& told, batch_size ran,
                            time_point now) {
  // What one member's fault made run apart says nothing about batches.
  const auto time = time_of(batch, told, now);
  if (!time || told.apart) return;
  const auto took = *time;
  const auto found = models_.find(batch.model);
  if (found == models_.end()) return;
  auto& model = found->second;
  auto* profile = model.workers.profile_of(worker);
  if (profile == nullptr) return;  // the model is unloaded there
  const bool failed = told.failed != 0 && told.failed == told.finished.size();
  // What is shorter is measured by how the system shares out its cores, not by the worker's pace.
  constexpr microseconds least_for_pace{1000};
  std::optional<double> ratio;
  if (const auto expected = profile->predict(ran); expected && *expected >= least_for_pace)
    ratio = std::chrono::duration<double>(took) / *expected;
  if (!failed) {
    model.batch_time += (in_microseconds(took) - model.batch_time) / 16;
    profile->learn(ran, took);
    book_.note_change();
  }
  if (!workers_.judge(worker, failed ? std::nullopt : ratio, failed, now)) return;
  worker.kept_since.reset();  // what it is not given is nobody else's
  ejections_.Increment();
  spdlog::warn("worker {:x} is given no work for a while: {}", worker.instance,
               failed ? "its batches fail" : "it is much slower than the others of its kind");
}

}  // namespace shoal::scheduler
