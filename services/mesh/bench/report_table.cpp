#include <algorithm>

#include "core/error.hpp"
#include "services/mesh/bench/format.hpp"
#include "services/mesh/bench/report.hpp"
#include "services/mesh/bench/search.hpp"

namespace shoal::services::bench {

namespace {

std::string rate_text(const result& ran) {
  return ran.closed > 0 ? format("closed %zu", ran.closed) : format("%.5g", ran.rate);
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text + ' ';
}

/// The first two columns. As wide as what stands in them: two models must not be cut to the same name.
std::string first_columns(const measured& all, const std::string& rate, const std::string& model) {
  constexpr std::size_t narrowest_rate = 9, narrowest_model = 24;
  auto widest = narrowest_model;
  for (const auto& each : all.plan.streams) widest = std::max(widest, each.text().size());
  return padded(rate, std::max(narrowest_rate, format("closed %zu", all.plan.closed).size())) + padded(model, widest);
}

std::string row(const measured& all, const result& ran, const std::string& model, const tally& count) {
  const auto ms = [&](double p) { return ms_text(static_cast<double>(count.latency.percentile(p))); };
  return first_columns(all, rate_text(ran), model) +
         format("%8llu %8llu %8llu %8llu %7llu %9.1f %8s %8s %8s %8s %8s\n",
                static_cast<unsigned long long>(count.sent), static_cast<unsigned long long>(count.ok),
                static_cast<unsigned long long>(count.refused()),
                static_cast<unsigned long long>(count.failed() - count.refused()),
                static_cast<unsigned long long>(count.no_outcome), ran.per_second(count.answered), ms(50).c_str(),
                ms(90).c_str(), ms(99).c_str(), ms(99.9).c_str(),
                ms_text(static_cast<double>(count.latency.max())).c_str());
}

}  // namespace

std::string table_title(const measured& all) {
  std::string text = all.plan.at.endpoint + ", ";
  if (all.plan.closed > 0)
    text += format("closed loop of %zu in flight (its latencies are not those of users who come when they like)",
                   all.plan.closed);
  else
    text += "open loop, " + all.plan.arrivals + " arrivals, seed " + std::to_string(all.plan.seed);
  text += format(", %.3g s after %.3g s of warm-up", std::chrono::duration<double>(all.plan.duration).count(),
                 std::chrono::duration<double>(all.plan.warmup).count());
  if (all.plan.deadline.count() > 0)
    text += ", deadline " + ms_text(static_cast<double>(all.plan.deadline.count())) + " ms";
  text += "\n";
  for (std::size_t i = 0; i < all.plan.streams.size(); ++i)
    text += "  " + all.plan.streams[i].text() + ": " + all.inputs[i] + "\n";
  for (const auto& note : all.notes) text += "  " + note + "\n";
  return text;
}

std::string table_header(const measured& all) {
  return first_columns(all, "RATE/s", "MODEL") + format("%8s %8s %8s %8s %7s %9s %8s %8s %8s %8s %8s\n", "SENT", "OK",
                                                        "REFUSED", "FAILED", "NONE", "ANSWER/s", "P50 ms", "P90 ms",
                                                        "P99 ms", "P99.9 ms", "MAX ms");
}

std::string table_rows(const measured& all, std::size_t step) {
  const auto& ran = all.steps[step];
  const auto total = ran.total();
  std::string text;
  if (ran.streams.size() > 1)
    for (std::size_t i = 0; i < ran.streams.size(); ++i)
      text += row(all, ran, all.plan.streams[i].text(), ran.streams[i]);
  text += row(all, ran, ran.streams.size() > 1 ? "all" : all.plan.streams.front().text(), total);
  if (step < all.borne.size())
    text += format("          %s: %s is %s ms, %.2f%% failed\n", all.borne[step] ? "borne" : "not borne",
                   all.plan.search->of.c_str(), ms_text(value_of(total.latency, *all.plan.search)).c_str(),
                   total.failure_ratio() * 100);
  if (all.plan.deadline.count() > 0 && ran.seconds > 0)
    text += format("          goodput %.1f/s: %llu of %llu within the deadline\n",
                   static_cast<double>(total.in_time) / ran.seconds, static_cast<unsigned long long>(total.in_time),
                   static_cast<unsigned long long>(total.sent));
  for (std::size_t code = 0; code < tally::codes; ++code)
    if (total.failures[code] > 0)
      text += format("          %llu %s: %.300s\n", static_cast<unsigned long long>(total.failures[code]),
                     std::string(name_of(static_cast<errc>(code))).c_str(), total.reasons[code].c_str());
  if (total.refusals.count() > 0)
    text += format("          refusals came after %s ms (p50), %s ms (p99)\n",
                   ms_text(static_cast<double>(total.refusals.percentile(50))).c_str(),
                   ms_text(static_cast<double>(total.refusals.percentile(99))).c_str());
  if (total.no_outcome > 0)
    text += format(
        "          %llu had no outcome when the wait for them (--drain) was over: the latencies leave them out\n",
        static_cast<unsigned long long>(total.no_outcome));
  if (total.second_tries > 0)
    text += format("          %llu were sent a second time: the server had closed the connection without an answer\n",
                   static_cast<unsigned long long>(total.second_tries));
  if (ran.generator_was_late())
    text += format(
        "          WARNING: the generator itself was late by %s ms (p99), %s ms (max)%s: these figures are "
        "its own, not the server's. Lower the rate, give it a core of its own, or try `nice -n -10`\n",
        ms_text(static_cast<double>(ran.lag.percentile(99))).c_str(),
        ms_text(static_cast<double>(ran.lag.max())).c_str(),
        ran.unsent > 0 ? format(" and did not get to send %llu", static_cast<unsigned long long>(ran.unsent)).c_str()
                       : "");
  else if (ran.lag.count() > 0)
    text += format("          offered %.1f/s; generator late by %s ms (p99), %s ms (max); at most %zu in flight\n",
                   ran.offered, ms_text(static_cast<double>(ran.lag.percentile(99))).c_str(),
                   ms_text(static_cast<double>(ran.lag.max())).c_str(), ran.most_in_flight);
  if (ran.interrupted) text += "          ended early, by a signal\n";
  return text;
}

std::string search_verdict(const measured& all) {
  const auto& wanted = all.plan.search->text;
  const auto* borne = all.last_borne();
  const auto* failed = all.first_not_borne();
  auto text = borne == nullptr ? "no rate was borne: " + wanted + " with less than 1% failures\n"
                               : format(
                                     "highest rate with %s and less than 1%% failures: %.5g requests/s; its %s is that "
                                     "of %llu answers\n",
                                     wanted.c_str(), borne->rate, all.plan.search->of.c_str(),
                                     static_cast<unsigned long long>(borne->total().ok));
  if (all.too_few_below)
    text += "  ended there: lower rates bring fewer than the 1000 answers that p99.9 needs; give a longer --duration\n";
  if (failed != nullptr && failed->generator_was_late())
    text += format(
        "  WARNING: at %.5g/s, the lowest rate that was not borne, the load generator itself was late: the "
        "server may bear more\n",
        failed->rate);
  return text;
}

std::string progress_line(const progress& now) {
  return format("%s %.0f/%.0f s  %llu sent/s  %llu ok/s  p50 %s ms  p99 %s ms  %zu in flight  %llu failed",
                now.draining  ? "waiting for answers"
                : now.warming ? "warming up"
                              : "measuring",
                now.seconds, now.of, static_cast<unsigned long long>(now.last.sent),
                static_cast<unsigned long long>(now.last.ok), ms_text(static_cast<double>(now.last.p50)).c_str(),
                ms_text(static_cast<double>(now.last.p99)).c_str(), now.in_flight,
                static_cast<unsigned long long>(now.failed));
}

}  // namespace shoal::services::bench
