#include <nlohmann/json.hpp>

#include "services/mesh/bench/report.hpp"

namespace shoal::services::bench {

using nlohmann::ordered_json;

namespace {

double ms(double us) { return us / 1000; }
double seconds(nanoseconds time) { return std::chrono::duration<double>(time).count(); }

ordered_json summary(const histogram& values, bool buckets) {
  const auto at = [&](double p) { return ms(static_cast<double>(values.percentile(p))); };
  ordered_json made{{"count", values.count()},
                    {"min_ms", ms(static_cast<double>(values.min()))},
                    {"mean_ms", ms(values.mean())},
                    {"p50_ms", at(50)},
                    {"p90_ms", at(90)},
                    {"p99_ms", at(99)},
                    {"p99_9_ms", at(99.9)},
                    {"max_ms", ms(static_cast<double>(values.max()))}};
  if (!buckets) return made;
  made["buckets"] = ordered_json::array();
  for (const auto& [from, count] : values.buckets()) made["buckets"].push_back({from, count});
  return made;
}

ordered_json to_json(const tally& count, const result& ran, bool deadline) {
  auto failures = ordered_json::object();
  for (std::size_t code = 0; code < tally::codes; ++code)
    if (count.failures[code] > 0)
      failures[std::string(name_of(static_cast<errc>(code)))] = {{"count", count.failures[code]},
                                                                 {"first_said", count.reasons[code]}};
  ordered_json made{{"sent", count.sent},
                    {"ok", count.ok},
                    {"refused", count.refused()},
                    {"failed", count.failed()},
                    {"no_outcome", count.no_outcome},
                    {"failures", std::move(failures)},
                    {"second_tries", count.second_tries},
                    {"throughput_per_second", ran.per_second(count.answered)},
                    {"goodput_per_second", nullptr},
                    {"bytes_sent", count.bytes_sent},
                    {"bytes_received", count.bytes_received},
                    {"latency", summary(count.latency, true)},
                    {"service_time", summary(count.service, false)},
                    {"refusal_latency", summary(count.refusals, false)},
                    {"failure_latency", summary(count.failing, false)}};
  if (deadline && ran.seconds > 0) made["goodput_per_second"] = ran.per_second(count.in_time);
  return made;
}

ordered_json to_json(const result& ran, const plan& what) {
  const bool deadline = what.deadline.count() > 0;
  ordered_json made{
      {"rate", nullptr},
      {"closed_loop_in_flight", nullptr},
      {"began_unix_s", std::chrono::duration<double>(ran.began.time_since_epoch()).count()},
      {"seconds", ran.seconds},
      {"offered_per_second", ran.offered},
      {"throughput_per_second", ran.throughput},
      {"interrupted", ran.interrupted},
      {"most_in_flight", ran.most_in_flight},
      {"generator", {{"late", ran.generator_was_late()}, {"unsent", ran.unsent}, {"lag", summary(ran.lag, false)}}}};
  if (ran.closed > 0)
    made["closed_loop_in_flight"] = ran.closed;
  else
    made["rate"] = ran.rate;
  made["all"] = to_json(ran.total(), ran, deadline);
  made["streams"] = ordered_json::array();
  for (std::size_t i = 0; i < ran.streams.size(); ++i) {
    ordered_json each{{"model", what.streams[i].model},
                      {"version", what.streams[i].version},
                      {"priority", name_of(what.streams[i].priority)},
                      {"weight", what.streams[i].weight}};
    each.update(to_json(ran.streams[i], ran, deadline));
    made["streams"].push_back(std::move(each));
  }
  made["timeline"] = ordered_json::array();
  for (const auto& each : ran.seconds_list)
    made["timeline"].push_back({{"sent", each.sent},
                                {"ok", each.ok},
                                {"failed", each.failed},
                                {"p50_ms", ms(static_cast<double>(each.p50))},
                                {"p99_ms", ms(static_cast<double>(each.p99))}});
  return made;
}

}  // namespace

ordered_json to_json(const measured& all) {
  const auto& what = all.plan;
  ordered_json made{{"format", "shoal-bench/1"},
                    {"at", what.at.endpoint},
                    {"loop", what.closed > 0 ? "closed" : "open"},
                    {"arrivals", what.closed > 0 ? ordered_json() : ordered_json(what.arrivals)},
                    {"seed", what.seed},
                    {"duration_s", seconds(what.duration)},
                    {"warmup_s", seconds(what.warmup)},
                    {"drain_s", seconds(what.drain)},
                    {"deadline_ms", nullptr},
                    {"inputs", all.inputs},
                    {"notes", all.notes},
                    {"search", nullptr}};
  if (what.deadline.count() > 0) made["deadline_ms"] = ms(static_cast<double>(what.deadline.count()));
  if (what.search) {
    const auto* borne = all.last_borne();
    const auto* failed = all.first_not_borne();
    made["search"] = {{"bound", what.search->text},
                      {"highest_rate", all.highest},
                      {"answers", borne == nullptr ? 0 : borne->total().ok},
                      {"ended_by_generator", failed != nullptr && failed->generator_was_late()},
                      {"borne", all.borne}};
  }
  made["steps"] = ordered_json::array();
  for (const auto& step : all.steps) made["steps"].push_back(to_json(step, what));
  return made;
}

}  // namespace shoal::services::bench
