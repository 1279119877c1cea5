#include "services/mesh/bench/plan.hpp"

#include <algorithm>
#include <cmath>

#include "services/mesh/bench/format.hpp"

namespace shoal::services::bench {

namespace {

constexpr double most_seconds = 7 * 24 * 3600;
constexpr std::int64_t most_in_flight = 100'000;
/// Where a search begins if no rate is given.
constexpr double first_rate = 10;

expected<nanoseconds> seconds_of(const char* option, double value, bool zero) {
  if (!std::isfinite(value) || value < 0 || (value == 0 && !zero) || value > most_seconds)
    return fail(errc::invalid_argument, std::string(option) + ": a time in seconds " + (zero ? "from 0" : "above 0") +
                                            ", at most " + std::to_string(static_cast<int>(most_seconds)));
  return nanoseconds(std::llround(value * 1e9));
}

expected<void> read_times(const bench_options& typed, plan& made) {
  const struct {
    const char* option;
    double value;
    bool zero;
    nanoseconds* to;
  } times[] = {{"--duration", typed.duration, false, &made.duration},
               {"--warmup", typed.warmup, true, &made.warmup},
               {"--drain", typed.drain, true, &made.drain}};
  for (const auto& each : times) {
    auto time = seconds_of(each.option, each.value, each.zero);
    if (!time) return tl::unexpected(time.error());
    *each.to = *time;
  }
  auto timeout = seconds_of("--timeout", typed.timeout, false);
  if (!timeout) return tl::unexpected(timeout.error());
  made.at.timeout = std::chrono::ceil<milliseconds>(*timeout);
  if (!std::isfinite(typed.deadline_ms) || typed.deadline_ms < 0 || typed.deadline_ms > most_seconds * 1e3)
    return fail(errc::invalid_argument, "--deadline: milliseconds above 0, or 0 for none");
  made.deadline = microseconds(std::llround(typed.deadline_ms * 1e3));
  return {};
}

expected<void> read_load(const bench_options& typed, plan& made) {
  auto rates = read_rates(typed.rates);
  if (!rates) return tl::unexpected(rates.error());
  made.rates = std::move(*rates);
  made.arrivals = typed.arrivals;
  if (typed.arrivals != "poisson" && typed.arrivals != "constant") {
    auto trace = read_arrivals(typed.arrivals);
    if (!trace) return tl::unexpected(trace.error());
    made.trace = std::make_shared<const std::vector<nanoseconds>>(std::move(*trace));
    if (!made.rates.empty() && mean_rate(*made.trace) == 0)
      return fail(errc::invalid_argument,
                  "--arrivals " + typed.arrivals + ": all arrivals are at one time, so --rate cannot stretch it");
  }
  if (typed.closed < 0 || typed.closed > most_in_flight)
    return fail(errc::invalid_argument, "--closed: from 1 to 100000 in flight");
  made.closed = static_cast<std::size_t>(typed.closed);
  if (made.closed > 0 && (!made.rates.empty() || !typed.search.empty() || made.trace))
    return fail(errc::invalid_argument,
                "--closed sends when an answer has come: it goes with neither --rate, --search nor a file of arrivals");
  if (!typed.search.empty()) {
    auto wanted = read_bound(typed.search);
    if (!wanted) return tl::unexpected(wanted.error());
    made.search = std::move(*wanted);
    if (made.rates.size() > 1)
      return fail(errc::invalid_argument, "--search takes one --rate at most: the one it begins with");
    if (made.rates.empty()) made.rates.push_back(first_rate);
    const auto answers = made.requests_at(made.rates.front());
    if (!stands_on(*made.search, answers))
      return fail(
          errc::invalid_argument,
          format("--search %s: p99.9 needs 1000 answers in each step, and %.5g/s brings about %.0f of them: give "
                 "a longer --duration or a higher --rate to begin with",
                 typed.search.c_str(), made.rates.front(), answers));
  }
  if (made.rates.empty() && made.closed == 0 && !made.trace)
    return fail(errc::invalid_argument, "how much load? Give --rate R, --closed N, or --search 'p99<200ms'");
  return {};
}

}  // namespace

std::unique_ptr<arrivals> plan::arrivals_at(double rate) const {
  if (trace) return recorded_arrivals(trace, rate);
  return arrivals == "constant" ? constant_arrivals(rate) : poisson_arrivals(rate, seed);
}

double plan::requests_at(double rate) const {
  const auto due = rate * std::chrono::duration<double>(duration).count();
  return trace ? std::min(due, static_cast<double>(trace->size())) : due;
}

expected<plan> read_plan(const bench_options& typed) {
  plan made;
  made.at = typed.at;
  if (typed.seed < 0) return fail(errc::invalid_argument, "--seed: a whole number from 0");
  made.seed = static_cast<std::uint64_t>(typed.seed);
  made.requests = typed.requests;
  if (typed.models.empty()) return fail(errc::invalid_argument, "which model? Give --model NAME");
  for (const auto& text : typed.models) {
    auto read = read_stream(text);
    if (!read) return tl::unexpected(read.error());
    made.streams.push_back(std::move(*read));
  }
  if (!typed.requests.file.empty() && (!typed.requests.shapes.empty() || !typed.requests.lengths.empty()))
    return fail(errc::invalid_argument, "--requests says what is sent: it goes with neither --shape nor --lengths");
  if (auto times = read_times(typed, made); !times) return tl::unexpected(times.error());
  if (auto load = read_load(typed, made); !load) return tl::unexpected(load.error());
  return made;
}

}  // namespace shoal::services::bench
