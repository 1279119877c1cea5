#include "services/mesh/process_plan.hpp"

#include <charconv>

#include <nlohmann/json.hpp>

namespace shoal::services {

using nlohmann::json;

std::string process_plan::to_json() const {
  json all{{"run", run},       {"held", held},
           {"http", http},     {"grpc", grpc},
           {"models", models}, {"watchdog_ms", watchdog.count()},
           {"log", log_level}, {"services", json::array()}};
  for (const auto& one : services)
    all["services"].push_back({{"service", one.service},
                               {"number", one.number},
                               {"command", one.command},
                               {"endpoint", one.endpoint},
                               {"doors", one.doors},
                               {"stop_ms", one.stop_time.count()}});
  return all.dump(-1, ' ', false, json::error_handler_t::replace);
}

expected<process_plan> process_plan::from_json(const std::string& text) {
  process_plan plan;
  try {
    const auto all = json::parse(text);
    plan.run = all.at("run");
    plan.held = all.at("held").get<std::vector<int>>();
    plan.http = all.at("http");
    plan.grpc = all.at("grpc");
    plan.models = all.at("models");
    plan.watchdog = milliseconds(all.at("watchdog_ms").get<std::int64_t>());
    plan.log_level = all.at("log");
    for (const auto& one : all.at("services"))
      plan.services.push_back({one.at("service"), one.at("number"), one.at("command"), one.at("endpoint"),
                               one.at("doors"), milliseconds(one.at("stop_ms").get<std::int64_t>())});
  } catch (const json::exception& wrong) {
    return fail(errc::invalid_argument, std::string("this is not a plan of a mesh: ") + wrong.what());
  }
  for (const auto& one : plan.services)
    if (one.command.empty()) return fail(errc::invalid_argument, "the plan has a service without a command");
  return plan;
}

expected<scale> parse_scale(const std::vector<std::string>& given) {
  constexpr int most = 64;
  scale all;
  for (const auto& text : given) {
    const auto equals = text.find('=');
    const auto service = text.substr(0, equals);
    if (equals == std::string::npos || (service != "gateway" && service != "scheduler" && service != "worker" &&
                                        service != "cache" && service != "precision"))
      return fail(errc::invalid_argument,
                  "--scale " + text + ": write SERVICE=N, with gateway, scheduler, worker, cache or precision");
    int number = -1;
    const auto* const end = text.data() + text.size();
    const auto [at, failed] = std::from_chars(text.data() + equals + 1, end, number);
    const int least = service == "cache" || service == "precision" ? 0 : 1;
    if (failed != std::errc{} || at != end || number < least || number > most)
      return fail(errc::invalid_argument, "--scale " + text + ": the number must be from " + std::to_string(least) +
                                              " to " + std::to_string(most));
    if (!all.emplace(service, number).second)
      return fail(errc::invalid_argument, std::string("--scale ").append(text).append(": it was given before"));
  }
  return all;
}

}  // namespace shoal::services
