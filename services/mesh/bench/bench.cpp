#include "services/mesh/bench/bench.hpp"

#include "services/mesh/bench/search.hpp"

namespace shoal::services::bench {

namespace {

struct prepared_load {
  std::vector<mix::part> parts;
  std::vector<std::size_t> sizes;  ///< bytes by number
};

std::string text_of(const request_set& set) {
  std::string text;
  for (const auto& input : set.distinct.front())
    text += input.name + " " + std::string(name_of(input.type)) + to_string(input.dims) + ", ";
  return text + std::to_string(set.distinct.size()) + (set.distinct.size() == 1 ? " request" : " distinct requests");
}

/// The server is there, but does not describe its models (a handler in Ray Serve, say: 404, 405, 500). With requests
/// from a file it can be driven all the same; whether it has the model, the first request will tell.
bool answered(errc code) {
  return code != errc::unavailable && code != errc::deadline_exceeded && code != errc::permission_denied &&
         code != errc::unauthenticated;
}

expected<prepared_load> prepare(target& on, measured& all) {
  prepared_load load;
  for (const auto& each : all.plan.streams) {
    auto takes = on.describe(each.model, each.version, all.plan.at.timeout);
    if (!takes && !all.plan.requests.file.empty() && answered(takes.error().code)) takes = model_interface{};
    if (!takes) return tl::unexpected(takes.error());
    auto set = make_requests(all.plan.requests, each.model, *takes);
    if (!set) return tl::unexpected(set.error());
    if (!set->note.empty()) all.notes.push_back(set->note);
    all.inputs.push_back(text_of(*set));
    const auto first = load.sizes.size();
    for (auto& inputs : set->distinct) {
      const auto size = on.prepare({each.model, each.version, each.priority, all.plan.deadline, std::move(inputs)});
      if (!size) return tl::unexpected(size.error());
      load.sizes.push_back(*size);
    }
    auto& part = load.parts.emplace_back(mix::part{each.weight, std::move(set->order)});
    for (auto& number : part.order) number += first;
  }
  return load;
}

/// One request of each stream, so that what is wrong is said before load is put on.
expected<void> try_each(target& on, const prepared_load& load, const measured& all, const watcher& watched) {
  for (std::size_t i = 0; i < load.parts.size(); ++i) {
    const auto which = on.send(load.parts[i].order.front());
    const auto until = on.now() + all.plan.at.timeout;
    std::vector<ended> heard;
    while (on.now() < until && (heard.empty() || heard.back().which != which)) {
      if (watched.stop && watched.stop()) return fail(errc::cancelled, "ended before any load was put on");
      on.poll(std::min(until, on.now() + milliseconds(50)), heard);
    }
    const auto model = all.plan.streams[i].text();
    if (heard.empty() || heard.back().which != which) {
      on.abandon();
      return fail(errc::deadline_exceeded, "a first request for " + model + " has no answer after " +
                                               std::to_string(all.plan.at.timeout.count()) +
                                               " ms: give --timeout SECONDS if the model needs longer");
    }
    const auto& failure = heard.back().failure;
    const bool binary = all.plan.at.endpoint.starts_with("http://") && !all.plan.at.json_tensors;
    if (failure && *failure != errc::overloaded && *failure != errc::deadline_exceeded)
      return fail(*failure, "a first request for " + model + " failed: " + heard.back().reason +
                                (binary && *failure != errc::unavailable && *failure != errc::not_found
                                     ? " (a server without binary tensors needs --json-tensors)"
                                     : ""));
  }
  return {};
}

}  // namespace

const result* measured::last_borne() const {
  const result* found = nullptr;
  for (std::size_t i = 0; i < borne.size(); ++i)
    if (borne[i] && (found == nullptr || steps[i].rate > found->rate)) found = &steps[i];
  return found;
}

const result* measured::first_not_borne() const {
  const result* found = nullptr;
  for (std::size_t i = 0; i < borne.size(); ++i)
    if (!borne[i] && (found == nullptr || steps[i].rate < found->rate)) found = &steps[i];
  return found;
}

expected<measured> measure(plan what, const observer& seen) {
  auto on = connect(what.at);
  if (!on) return tl::unexpected(on.error());
  return measure(std::move(what), **on, seen);
}

expected<measured> measure(plan what, target& on, const observer& seen) {
  measured all;
  all.plan = std::move(what);
  auto load = prepare(on, all);
  if (!load) return tl::unexpected(load.error());
  if (auto tried = try_each(on, *load, all, seen.watched); !tried) return tl::unexpected(tried.error());
  if (seen.begun) seen.begun(all);

  const auto one = [&](double rate) -> const result& {
    schedule times;
    times.rate = rate;
    if (all.plan.closed == 0) times.due = all.plan.arrivals_at(rate);
    times.in_flight = all.plan.closed;
    times.warmup = all.plan.warmup;
    times.duration = all.plan.duration;
    times.drain = all.plan.drain;
    times.deadline = all.plan.deadline;
    times.sizes = load->sizes;
    mix requests(load->parts, all.plan.seed);  // every rate sends the same
    return all.steps.emplace_back(run(on, requests, std::move(times), seen.watched));
  };
  const auto tell = [&] {
    if (seen.step) seen.step(all);
  };

  if (all.plan.search) {
    all.highest = find_highest(all.plan.rates.front(), [&](double rate) -> std::optional<bool> {
      if (!stands_on(*all.plan.search, all.plan.requests_at(rate))) {
        all.too_few_below = true;
        return std::nullopt;
      }
      const auto& ran = one(rate);
      const bool bore = bears(ran, *all.plan.search);
      all.borne.push_back(bore);
      tell();
      if (ran.interrupted) return std::nullopt;
      return bore;
    });
    return all;
  }
  if (all.plan.rates.empty()) {
    one(all.plan.trace ? mean_rate(*all.plan.trace) : 0);
    tell();
    return all;
  }
  for (const auto rate : all.plan.rates) {
    const bool over = one(rate).interrupted;
    tell();
    if (over) break;
  }
  return all;
}

}  // namespace shoal::services::bench
