#include "services/mesh/top_table.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>

#include <nlohmann/json.hpp>

#include "gateway/model_tally.hpp"
#include "services/mesh/describe.hpp"
#include "services/mesh/output.hpp"

namespace shoal::services {

namespace {

using protocol::duration_sum;
using protocol::model_statistics;
using protocol::service_report;

/// The sum of a service's figures of one family, whatever their labels.
double sum_of(const service_report& service, const std::string& family) {
  double sum = 0;
  for (const auto& figure : service.figures)
    if (figure.name == family || figure.name.starts_with(family + "{")) sum += figure.value;
  return sum;
}

const service_report* find(const protocol::report& report, const service_report& like) {
  for (const auto& each : report.services)
    if (each.service == like.service && each.instance == like.instance) return &each;
  return nullptr;
}

/// What the gateways that are there now counted between the looks.
std::vector<model_statistics> counted_between(const protocol::report& before, const protocol::report& now) {
  std::vector<model_statistics> all;
  for (const auto& service : now.services) {
    const auto* old = find(before, service);
    auto news = service.models;
    for (auto& each : news)
      for (const auto& earlier : old != nullptr ? old->models : std::vector<model_statistics>{}) {
        if (earlier.model != each.model || earlier.version != each.version) continue;
        each.rows -= earlier.rows;
        each.executions -= earlier.executions;
        for (const auto part : {&model_statistics::success, &model_statistics::fail, &model_statistics::queue,
                                &model_statistics::compute_infer}) {
          (each.*part).count -= (earlier.*part).count;
          (each.*part).total -= (earlier.*part).total;
        }
      }
    gateway::merge(all, news);
  }
  return all;
}

double mean_ms(const duration_sum& sum) {
  return sum.count == 0 ? 0 : static_cast<double>(sum.total.count()) / static_cast<double>(sum.count) / 1e6;
}

double queued_of(const protocol::report& report, const protocol::model_spec& model) {
  double queued = 0;
  const auto wanted = "model=\"" + model.name + "\"";
  const auto version = "version=\"" + std::to_string(model.version) + "\"";
  for (const auto& service : report.services)
    for (const auto& figure : service.figures)
      if (figure.name.starts_with("shoal_scheduler_model_queued{") && figure.name.find(wanted) != std::string::npos &&
          figure.name.find(version) != std::string::npos)
        queued += figure.value;
  return queued;
}

__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...) {
  std::array<char, 256> text{};
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text.data(), text.size(), pattern, arguments);
  va_end(arguments);
  return text.data();
}

std::string does(const service_report& now, const service_report* before, double seconds) {
  const auto rate = [&](const char* family) {
    const auto old = before != nullptr ? sum_of(*before, family) : 0;
    return seconds > 0 ? std::max(0.0, sum_of(now, family) - old) / seconds : 0;
  };
  if (now.service == "gateway")
    return format("%.0f in flight, %.1f requests/s, holds %s", sum_of(now, "shoal_gateway_requests_in_flight"),
                  rate("shoal_gateway_requests_total"), size_text(sum_of(now, "shoal_gateway_held_bytes")).c_str());
  if (now.service == "scheduler")
    return format("%.0f queued, %.0f workers, %.1f batches/s", sum_of(now, "shoal_scheduler_queued"),
                  sum_of(now, "shoal_scheduler_workers"), rate("shoal_scheduler_batches_total"));
  if (now.service == "worker")
    return format("%.0f models, %.1f batches/s, %.1f rows/s", sum_of(now, "shoal_worker_models_ready"),
                  rate("shoal_worker_batches_total"), rate("shoal_worker_rows_total"));
  if (now.service == "cache")
    return format("%.0f objects, %s in memory, %s on disk, %.0f leases", sum_of(now, "shoal_cache_objects"),
                  size_text(sum_of(now, "shoal_cache_memory_bytes")).c_str(),
                  size_text(sum_of(now, "shoal_cache_disk_bytes")).c_str(), sum_of(now, "shoal_cache_leases"));
  if (now.service == "precision")
    return format("%.0f plans, %.0f under way, %.0f made, %.0f breaches", sum_of(now, "shoal_precision_plans"),
                  sum_of(now, "shoal_precision_planning"), sum_of(now, "shoal_precision_plannings_total"),
                  sum_of(now, "shoal_precision_breaches_total"));
  return {};
}

std::string up_text(const service_report& service, std::chrono::system_clock::time_point clock) {
  const auto start = sum_of(service, "shoal_service_start_time_seconds");
  if (start == 0) return "?";
  const auto age = clock.time_since_epoch() - std::chrono::duration<double>(start);
  return age_text(std::max(std::chrono::seconds(0), std::chrono::duration_cast<std::chrono::seconds>(age)));
}

}  // namespace

top_view compare(const mesh_view& before, const mesh_view& now, std::chrono::system_clock::time_point clock) {
  top_view view;
  view.seconds = std::chrono::duration<double>(now.taken - before.taken).count();
  const auto counted = counted_between(before.report, now.report);
  for (const auto& model : now.models.models) {
    auto& row = view.models.emplace_back();
    row.name = model.name;
    row.version = model.version;
    row.state = text_of(model.state);
    row.queued = queued_of(now.report, model);
    for (const auto& each : counted) {
      if (each.model != model.name || each.version != model.version || view.seconds <= 0) continue;
      row.requests_s = static_cast<double>(each.success.count) / view.seconds;
      row.failures_s = static_cast<double>(each.fail.count) / view.seconds;
      row.batch = each.executions > 0 ? static_cast<double>(each.rows) / each.executions : 0;
      row.latency_ms = mean_ms(each.success);
      row.queue_ms = mean_ms(each.queue);
      row.compute_ms = mean_ms(each.compute_infer);
    }
  }
  for (const auto& service : now.report.services)
    view.services.push_back({service.service, id_text(service.instance), up_text(service, clock),
                             does(service, find(before.report, service), view.seconds)});
  std::stable_sort(view.services.begin(), view.services.end(),
                   [](const service_row& a, const service_row& b) { return a.service < b.service; });
  return view;
}

std::string to_table(const top_view& view, const std::string& title, std::size_t columns) {
  std::vector<std::string> lines{title, ""};
  lines.push_back(format("%-32s %-8s %8s %8s %7s %7s %10s %9s %10s", "MODEL", "STATE", "ANSWER/S", "FAIL/S", "QUEUED",
                         "BATCH", "LATENCY ms", "QUEUE ms", "COMPUTE ms"));
  for (const auto& row : view.models)
    lines.push_back(format("%-32s %-8s %8.1f %8.1f %7.0f %7.1f %10.2f %9.2f %10.2f",
                           (row.name + "/" + std::to_string(row.version)).substr(0, 32).c_str(), row.state.c_str(),
                           row.requests_s, row.failures_s, row.queued, row.batch, row.latency_ms, row.queue_ms,
                           row.compute_ms));
  if (view.models.empty()) lines.push_back("no models: add one with `shoal import FILE.pt2 --models DIR`");
  lines.push_back("");
  lines.push_back(format("%-10s %-16s %8s  %s", "SERVICE", "INSTANCE", "UP", "DOES"));
  for (const auto& row : view.services)
    lines.push_back(
        format("%-10s %-16s %8s  %s", row.service.c_str(), row.instance.c_str(), row.up.c_str(), row.does.c_str()));
  std::string text;
  for (const auto& line : lines) text += line.substr(0, columns) + "\n";
  return text;
}

nlohmann::ordered_json to_json(const top_view& view) {
  nlohmann::ordered_json all{{"seconds", view.seconds}};
  all["models"] = nlohmann::ordered_json::array();
  for (const auto& row : view.models)
    all["models"].push_back({{"name", row.name},
                             {"version", row.version},
                             {"state", row.state},
                             {"requests_per_second", row.requests_s},
                             {"failures_per_second", row.failures_s},
                             {"queued", row.queued},
                             {"batch_rows", row.batch},
                             {"latency_ms", row.latency_ms},
                             {"queue_ms", row.queue_ms},
                             {"compute_ms", row.compute_ms}});
  all["services"] = nlohmann::ordered_json::array();
  for (const auto& row : view.services)
    all["services"].push_back(
        {{"service", row.service}, {"instance", row.instance}, {"up", row.up}, {"does", row.does}});
  return all;
}

}  // namespace shoal::services
