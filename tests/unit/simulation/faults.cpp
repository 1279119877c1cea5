// What goes wrong in a simulated mesh.
#include <algorithm>
#include <utility>

#include <spdlog/fmt/fmt.h>

#include "unit/simulation/mesh.hpp"

namespace shoal::test {

using namespace protocol;

void mesh::every(double rate, time_point until, std::function<void()> what) {
  if (rate <= 0) return;
  const auto when = time_.now() + time_.until_next(rate);
  if (when >= until) return;
  time_.at(when, [this, rate, until, what = std::move(what)]() mutable {
    what();
    every(rate, until, std::move(what));
  });
}

void mesh::begin_faults(time_point until) {
  every(of_.breaks, until, [this] {
    if (wires_.break_one() && tracer_) tracer_->note({}, "a connection breaks");
  });
  every(of_.silences, until, [this] { silence_one(); });
  every(of_.pauses, until, [this] { pause_one(); });
  every(of_.client_deaths, until, [this] { kill_one(kind::client); });
  every(of_.gateway_deaths, until, [this] { kill_one(kind::gateway); });
  every(of_.scheduler_deaths, until, [this] { kill_one(kind::scheduler); });
  every(of_.worker_deaths, until, [this] { kill_one(kind::worker); });
  every(of_.cache_deaths, until, [this] { kill_one(kind::cache); });
  every(of_.memory_losses, until, [this] { empty_memory(); });
  every(of_.planner_deaths, until, [this] { kill_one(kind::precision); });
}

void mesh::kill(place_id place, network::end how) {
  auto& self = nodes_[place];
  if (!self.runs) return;
  if (tracer_)
    tracer_->note(place, how == network::end::in_order ? "ends in order"
                         : how == network::end::killed ? "is killed"
                                                       : "loses its power");
  wires_.stop(place, how);
  checks_.abandon_all_of(place);
  if (how != network::end::in_order) self.runs->crash();
  self.runs.reset();
  self.alarm.reset();
  time_.after(time_.between(steady::duration{}, steady::duration(of_.restart_after)), [this, place] { start(place); });
}

void mesh::kill_one(kind service) {
  const auto alive = awake(service);
  if (alive.empty()) return;
  const auto place = time_.one_of(alive);
  if ((service == kind::worker || service == kind::gateway) && time_.chance(of_.orderly_ends))
    return restart_in_order(place);
  kill(place, time_.chance(of_.power_losses) ? network::end::power_lost : network::end::killed);
}

/// Somebody empties the tmpfs, or a bit of it flips.
void mesh::empty_memory() {
  if (memory_.objects.empty()) return;
  if (time_.chance(0.5)) return memory_.objects.clear();
  auto some = memory_.objects.begin();
  std::advance(some, time_.below(memory_.objects.size()));
  some->second.bytes[time_.below(some->second.bytes.size())] ^= std::byte{1};
}

/// As `docker stop` does it: it takes nothing new, finishes what it has, and goes; or is killed after a while.
void mesh::restart_in_order(place_id place) {
  auto& self = nodes_[place];
  self.draining = true;
  if (tracer_) tracer_->note(place, "drains");
  self.runs->drain();
  stepped(place);
  wait_for_drain(place, time_.now() + milliseconds(2000));
}

void mesh::wait_for_drain(place_id place, time_point patience) {
  if (nodes_[place].runs->left().empty() || time_.now() >= patience) return kill(place, network::end::in_order);
  wires_.later(place, milliseconds(10), [this, place, patience] { wait_for_drain(place, patience); });
}

/// Faults end with the time of faults.
void mesh::pause_one() {
  std::vector<place_id> alive;
  for (place_id place = 0; place < nodes_.size(); ++place)
    if (nodes_[place].runs && wires_.paused_until(place) <= time_.now()) alive.push_back(place);
  if (alive.empty()) return;
  const auto place = time_.one_of(alive);
  const auto until = std::min(
      faults_end_, time_.now() + time_.between(steady::duration(milliseconds(5)), steady::duration(of_.longest_pause)));
  if (tracer_)
    tracer_->note(place,
                  fmt::format("is paused for {:.3f} s", std::chrono::duration<double>(until - time_.now()).count()));
  wires_.pause(place, until);
  checks_.excuse(place, until);
}

void mesh::silence_one() {
  const auto from = time_.below(nodes_.size()), to = time_.below(nodes_.size());
  if (from == to) return;
  const auto until = std::min(
      faults_end_, time_.now() + time_.between(steady::duration(milliseconds(5)), steady::duration(of_.longest_pause)));
  if (tracer_)
    tracer_->note(from, fmt::format("is not heard by place {} for {:.3f} s", to,
                                    std::chrono::duration<double>(until - time_.now()).count()));
  wires_.silence(from, to, until);
}

}  // namespace shoal::test
