// `shoal bench`: load for a model, and what becomes of it.
#include <cmath>
#include <iostream>

#include <unistd.h>
#include <nlohmann/json.hpp>

#include "gateway/open_inference.hpp"
#include "services/mesh/bench/report.hpp"
#include "services/mesh/bench/requests.hpp"
#include "services/mesh/names.hpp"
#include "services/mesh/output.hpp"
#include "services/mesh/verbs.hpp"

namespace shoal::services {

namespace {

steady::duration duration_of(double seconds) {
  return std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(seconds));
}

expected<void> check(const bench_arguments& wanted) {
  const auto is_in = [](double value, double least, double most) { return value >= least && value <= most; };
  if (!wanted.rates.empty() && wanted.closed != 0)
    return fail(errc::invalid_argument, "--rate is an open loop and --closed a closed one: choose");
  const bool from_file = wanted.arrivals != "poisson" && wanted.arrivals != "constant";
  if (wanted.rates.empty() && wanted.closed == 0 && !from_file)
    return fail(errc::invalid_argument, "say how much: --rate R (requests per second), or --closed N (in flight)");
  if (from_file && !wanted.rates.empty())
    return fail(errc::invalid_argument, "--arrivals FILE says when requests are sent: leave --rate out");
  for (const auto rate : wanted.rates)
    if (!is_in(rate, 0.001, 1e6)) return fail(errc::invalid_argument, "--rate must be from 0.001 to 1000000");
  if (wanted.closed > 100'000) return fail(errc::invalid_argument, "--closed must be at most 100000");
  if (!is_in(wanted.duration, 0.1, 86400))
    return fail(errc::invalid_argument, "--duration must be 0.1 to 86400 seconds");
  if (!is_in(wanted.warm_up, 0, 86400)) return fail(errc::invalid_argument, "--warmup must be 0 to 86400 seconds");
  if (!is_in(wanted.deadline_ms, 0, 3.6e6)) return fail(errc::invalid_argument, "--deadline must be 0 to 3600000 ms");
  if (wanted.length < 1 || wanted.length > 1'000'000)
    return fail(errc::invalid_argument, "--length must be from 1 to 1000000");
  if (wanted.connections < 1 || wanted.connections > 10'000)
    return fail(errc::invalid_argument, "--connections must be from 1 to 10000");
  return {};
}

expected<std::unique_ptr<bench::target>> reach(const client_arguments& client, const bench_arguments& wanted) {
  constexpr std::string_view http = "http://";
  if (client.endpoint.starts_with(http))
    return bench::http_target(client.endpoint.substr(http.size()), wanted.connections, client.timeout());
  auto native = bench::native_target(client.endpoint, client.timeout());
  if (!native) return tl::unexpected(with_next_step(native.error()));
  return native;
}

expected<std::size_t> prepare(bench::target& to, const bench_arguments& wanted) {
  const auto named = read_model_name(wanted.model);
  if (!named) return tl::unexpected(named.error());
  const auto priority = gateway::read_priority(wanted.priority);
  if (!priority) return tl::unexpected(priority.error());
  auto spec = to.spec(named->first, named->second);
  if (!spec) return tl::unexpected(with_next_step(spec.error()));
  spec->version = named->second;
  std::vector<protocol::infer> requests;
  if (wanted.requests.empty()) {
    requests.push_back(bench::request_of_ones(*spec, wanted.length));
  } else {
    auto read = bench::read_requests(wanted.requests, *spec);
    if (!read) return tl::unexpected(read.error());
    requests = std::move(*read);
  }
  for (auto& request : requests) {
    request.priority = *priority;
    request.time_left = microseconds(std::llround(wanted.deadline_ms * 1000));
  }
  const auto count = requests.size();
  if (auto prepared = to.prepare(std::move(requests)); !prepared) return tl::unexpected(prepared.error());
  return count;
}

void show_progress(double rate, std::uint64_t sent, std::uint64_t answered, std::uint64_t failed) {
  std::cerr << "\r" << rate << "/s: sent " << sent << ", answered " << answered << ", failed " << failed << ", open "
            << sent - answered - failed << "   " << std::flush;
}

}  // namespace

expected<void> run_bench(const client_arguments& client, const bench_arguments& wanted, signals& ending) {
  if (auto good = check(wanted); !good) return good;
  auto to = reach(client, wanted);
  if (!to) return tl::unexpected(to.error());
  const auto count = prepare(**to, wanted);
  if (!count) return tl::unexpected(count.error());

  bench::load_options options;
  options.warm_up = duration_of(wanted.warm_up);
  options.duration = duration_of(wanted.duration);
  options.drain = client.timeout();
  options.deadline = microseconds(std::llround(wanted.deadline_ms * 1000));
  options.seed = wanted.seed;
  bench::timekeeper time;
  time.sleep_until = [&ending](time_point when) {
    // A signal is looked for while there is time: the last half millisecond is slept away more exactly.
    const auto left = when - steady::now();
    if (ending.wait(std::max(std::chrono::duration_cast<milliseconds>(left - microseconds(500)), milliseconds(0))) != 0)
      return false;
    if (const auto rest = when - steady::now(); rest > steady::duration::zero()) std::this_thread::sleep_for(rest);
    return true;
  };
  std::vector<bench::step> steps;
  const bool watched = ::isatty(STDERR_FILENO) != 0 && !client.json;
  const auto run_open = [&](double rate, bench::arrivals when) {
    bench::progress told;
    if (watched) told = [rate](auto sent, auto answered, auto failed) { show_progress(rate, sent, answered, failed); };
    steps.push_back({rate, 0, bench::run_load(**to, *count, std::move(when), options, time, told)});
    if (watched) std::cerr << "\n";
  };
  if (wanted.closed != 0) {
    steps.push_back({0, wanted.closed, bench::run_closed(**to, *count, wanted.closed, options, time)});
  } else if (wanted.rates.empty()) {
    auto when = bench::arrivals::from_file(wanted.arrivals);
    if (!when) return tl::unexpected(when.error());
    run_open(0, std::move(*when));
  }
  for (const auto rate : wanted.rates) {
    if (!steps.empty() && steps.back().result.stopped) break;
    run_open(rate, wanted.arrivals == "poisson" ? bench::arrivals::poisson(rate, wanted.seed)
                                                : bench::arrivals::constant(rate));
  }
  if (client.json) {
    print_json(bench::json_of(steps));
    return {};
  }
  std::cout << bench::table_of(steps);
  for (const auto& each : steps)
    if (const auto warning = bench::warning_of(each); !warning.empty()) std::cerr << "shoal: " << warning << "\n";
  return {};
}

}  // namespace shoal::services
