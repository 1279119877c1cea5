// What is asked of a simulated mesh: requests of clients and through doors, some taken back, loads and unloads.
#include <algorithm>
#include <utility>

#include "unit/simulation/mesh.hpp"
#include "unit/simulation/model.hpp"

namespace shoal::test {

using namespace protocol;

void mesh::begin_traffic(time_point until) {
  for (const auto& each : of_.models)
    if (each.rate > 0) arrive(each, until);
  if (!all_is_well_) every(of_.managed, until, [this] { manage_something(); });
}

void mesh::arrive(const world::traffic& of, time_point until) {
  const auto rate = all_is_well_ ? std::min(of.rate, of_.calm_rate) : of.rate;
  const auto when = time_.now() + time_.until_next(rate);
  if (when >= until) return;
  time_.at(when, [this, &of, until] {
    ask(of);
    arrive(of, until);
  });
}

void mesh::ask(const world::traffic& of) {
  const bool at_door = of_.clients == 0 || time_.chance(of.at_doors);
  const auto from = awake(at_door ? kind::gateway : kind::client);
  if (from.empty()) return;
  checker::asked what;
  what.owner = time_.one_of(from);
  what.at_door = at_door;
  what.model = of.model;
  what.version = of_.managed > 0 && (all_is_well_ || time_.chance(0.7)) ? 0 : of.versions.front();
  const auto number = checks_.seen().asked + 1;
  what.input = input_of(number, 1 + static_cast<std::int64_t>(time_.below(static_cast<std::size_t>(of_.most_rows))),
                        4 + static_cast<std::int64_t>(time_.below(longest_row - 3)));
  what.priority = time_.one_of(of.classes);
  what.at = time_.now();
  const auto within = is_calm_ ? milliseconds(2000)
                               : std::chrono::duration_cast<milliseconds>(
                                     time_.between(steady::duration(of_.least_time), steady::duration(of_.most_time)));
  what.due = time_.now() + within;
  what.is_poison = !all_is_well_ && time_.chance(of_.poison);
  what.is_calm = is_calm_;
  infer request;
  request.model = what.model;
  request.version = what.version;
  request.inputs = {what.input};
  request.priority = what.priority;
  request.time_left = within;
  request.trace.trace_low = number;
  const auto owner = what.owner;
  checks_.ask(std::move(what));
  if (tracer_) tracer_->note(owner, "is asked for", number);
  if (at_door)
    at<gateway_process>(owner).submit(number, std::move(request));
  else
    at<client_process>(owner).submit(number, std::move(request), within);
  if (is_calm_ || !time_.chance(of_.given_up)) return;
  wires_.later(owner, time_.between(steady::duration{}, steady::duration(within)), [this, owner, number, at_door] {
    if (at_door)
      at<gateway_process>(owner).withdraw(number);
    else
      at<client_process>(owner).give_up(number);
  });
}

/// Somebody loads the newest version of a model, or unloads one.
void mesh::manage_something() {
  const auto from = awake(kind::client);
  if (from.empty()) return;
  const auto& model = time_.one_of(of_.models).model;
  auto& versions = models_.versions.at(model);
  if (time_.chance(0.3) && versions.size() < 4) versions.insert(*versions.rbegin() + 1);
  protocol::manage what;
  what.model = model;
  what.verb = time_.chance(0.3) ? life_verb::unload : life_verb::load;
  what.replace = what.verb == life_verb::load && time_.chance(0.7);
  if (what.verb == life_verb::unload) what.version = 1 + time_.below(*versions.rbegin());
  at<client_process>(time_.one_of(from)).manage(what, milliseconds(1000), [](bool) {});
}

/// As an operator would who has not read the answers: again and again.
void mesh::load_what_is_missing() {
  if (of_.managed <= 0 || is_calm_) return;
  if (const auto from = awake(kind::client); !from.empty())
    for (const auto& each : of_.models) {
      protocol::manage what;
      what.model = each.model;
      what.verb = life_verb::load;
      at<client_process>(time_.one_of(from)).manage(what, milliseconds(1000), [](bool) {});
    }
  time_.after(milliseconds(500), [this] { load_what_is_missing(); });
}

}  // namespace shoal::test
