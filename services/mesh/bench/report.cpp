#include "services/mesh/bench/report.hpp"

#include <iomanip>
#include <sstream>

#include <nlohmann/json.hpp>

namespace shoal::services::bench {

using nlohmann::ordered_json;

namespace {

double ms(microseconds time) { return static_cast<double>(time.count()) / 1000; }

ordered_json json_of(const histogram& times) {
  return {{"count", times.count()},         {"mean", times.mean_us() / 1000},  {"p50", ms(times.quantile(0.5))},
          {"p90", ms(times.quantile(0.9))}, {"p99", ms(times.quantile(0.99))}, {"p99_9", ms(times.quantile(0.999))},
          {"max", ms(times.largest())}};
}

std::uint64_t failures(const load_result& result) {
  std::uint64_t sum = 0;
  for (const auto& [code, count] : result.failed) sum += count;
  return sum;
}

}  // namespace

std::string table_of(const std::vector<step>& steps) {
  std::ostringstream text;
  text << "  offered/s   answered/s      good/s   failed    open   p50 ms   p90 ms   p99 ms p99.9 ms   max ms\n";
  for (const auto& each : steps) {
    const auto& result = each.result;
    const auto number = [&](int width, int digits, double value) {
      text << std::setw(width) << std::fixed << std::setprecision(digits) << value;
    };
    if (each.window != 0)
      text << std::setw(11) << ("window " + std::to_string(each.window));
    else
      number(11, 1, result.offered);
    number(13, 1, static_cast<double>(result.ok) / result.seconds);
    number(12, 1, static_cast<double>(result.good) / result.seconds);
    text << std::setw(9) << failures(result) << std::setw(8) << result.open;
    for (const auto q : {0.5, 0.9, 0.99, 0.999}) number(9, 2, ms(result.latency.quantile(q)));
    number(9, 2, ms(result.latency.largest()));
    text << "\n";
    for (const auto& [code, count] : result.failed) text << "             " << name_of(code) << ": " << count << "\n";
    if (result.refusals.count() != 0) {
      text << "             refused after, ms: p50 ";
      number(0, 2, ms(result.refusals.quantile(0.5)));
      text << ", p99 ";
      number(0, 2, ms(result.refusals.quantile(0.99)));
      text << "\n";
    }
  }
  return text.str();
}

ordered_json json_of(const std::vector<step>& steps) {
  auto list = ordered_json::array();
  for (const auto& each : steps) {
    const auto& result = each.result;
    ordered_json failed = ordered_json::object();
    for (const auto& [code, count] : result.failed) failed[std::string(name_of(code))] = count;
    list.push_back({{"loop", each.window != 0 ? "closed" : "open"},
                    {"window", each.window},
                    {"offered_per_s", result.offered},
                    {"answered_per_s", static_cast<double>(result.ok) / result.seconds},
                    {"good_per_s", static_cast<double>(result.good) / result.seconds},
                    {"seconds", result.seconds},
                    {"sent", result.sent},
                    {"ok", result.ok},
                    {"good", result.good},
                    {"failed", failed},
                    {"open", result.open},
                    {"latency_ms", json_of(result.latency)},
                    {"service_ms", json_of(result.service)},
                    {"refusal_ms", json_of(result.refusals)},
                    {"lag_ms", json_of(result.lag)},
                    {"stopped", result.stopped},
                    {"warning", warning_of(each)}});
  }
  return {{"runs", list}};
}

std::string warning_of(const step& one) {
  if (one.window == 0 && one.result.lag.quantile(0.99) > milliseconds(10))
    return "requests were sent up to " + std::to_string(one.result.lag.quantile(0.99).count() / 1000) +
           " ms late (p99): this machine could not keep up, and the figures are partly its own";
  return {};
}

}  // namespace shoal::services::bench
