#include "services/mesh/verbs.hpp"

#include <algorithm>
#include <iomanip>
#include <iostream>

#include <nlohmann/json.hpp>

#include "access/key_file.hpp"
#include "link/client.hpp"
#include "services/mesh/describe.hpp"
#include "services/mesh/output.hpp"

namespace shoal::services {

using nlohmann::ordered_json;

namespace {

ordered_json specs_json(const std::vector<protocol::tensor_spec>& specs) {
  auto list = ordered_json::array();
  for (const auto& spec : specs) {
    auto dims = ordered_json::array();
    for (const auto& dim : spec.dims) dims.push_back(dim.is_fixed() ? dim.min : -1);
    list.push_back({{"name", spec.name}, {"datatype", name_of(spec.type)}, {"shape", dims}});
  }
  return list;
}

void print(const protocol::catalogue& models) {
  for (const auto& m : models.models) {
    std::cout << m.name << "/" << m.version << "  " << text_of(m.state);
    if (!m.reason.empty()) std::cout << "  (" << m.reason << ")";
    std::cout << "\n";
    for (const auto& input : m.inputs) std::cout << "    in   " << text_of(input) << "\n";
    for (const auto& output : m.outputs) std::cout << "    out  " << text_of(output) << "\n";
    if (!m.batch_symbol.empty())
      std::cout << "    joins requests along " << m.batch_symbol << ", up to " << m.max_batch << " rows"
                << (m.pad_symbol.empty() ? "" : ", padding " + m.pad_symbol) << "\n";
  }
  if (models.models.empty()) std::cout << "no models: add one with `shoal import FILE.pt2 --models DIR`\n";
}

/// A figure with its unit, which its name ends with (Prometheus' conventions).
std::string value_text(const protocol::figure& figure) {
  const auto family = figure.name.substr(0, figure.name.find('{'));
  if (family.ends_with("_bytes")) return size_text(figure.value);
  if (family.ends_with("_start_time_seconds")) {
    const auto since =
        std::chrono::system_clock::now().time_since_epoch() - std::chrono::duration<double>(figure.value);
    return age_text(std::chrono::duration_cast<std::chrono::seconds>(since)) + " ago";
  }
  if (family.ends_with("_seconds")) return (std::ostringstream() << figure.value << " s").str();
  return (std::ostringstream() << std::setprecision(12) << figure.value).str();
}

void print(const protocol::plan_report& plan) {
  std::cout << "    " << plan.target.model << "/" << plan.target.version << "  " << std::fixed << std::setprecision(2);
  if (plan.epoch.empty())
    std::cout << "no plan yet";
  else if (plan.epoch == "fp32")
    std::cout << "fp32 (" << plan.policy << ", generation " << plan.generation << ")";
  else
    std::cout << "plan " << plan.epoch << " (" << plan.policy << " on " << plan.calibrated_on << ", generation "
              << plan.generation << "): " << plan.speedup << " times as fast as fp32, error " << plan.error * 100
              << "% of " << plan.budget * 100 << "%, " << plan.nodes;
  std::cout << std::defaultfloat << std::setprecision(6) << "\n        " << plan.following << " of " << plan.workers
            << " workers compute by it; " << plan.state << (plan.is_planned_here ? "" : " (another plans it)") << "; "
            << plan.breaches << " breaches\n        on " << plan.target.device << "\n";
  if (!plan.said.empty()) std::cout << "        " << plan.said << "\n";
}

ordered_json plan_json(const protocol::plan_report& plan) {
  return {{"model", plan.target.model},
          {"version", plan.target.version},
          {"device", plan.target.device},
          {"epoch", plan.epoch},
          {"policy", plan.policy},
          {"calibrated_on", plan.calibrated_on},
          {"generation", plan.generation},
          {"speedup", plan.speedup},
          {"error", plan.error},
          {"budget", plan.budget},
          {"nodes", plan.nodes},
          {"state", plan.state},
          {"said", plan.said},
          {"planned_here", plan.is_planned_here},
          {"workers", plan.workers},
          {"following", plan.following},
          {"samples", plan.samples},
          {"breaches", plan.breaches}};
}

void print(const protocol::report& report, bool zeros) {
  for (const auto& service : report.services) {
    std::cout << service.service << " " << id_text(service.instance) << "\n";
    for (const auto& plan : service.plans) print(plan);
    for (const auto& figure : service.figures)
      if (figure.value != 0 || zeros)
        std::cout << "    " << std::left << std::setw(64) << figure.name << " " << value_text(figure) << "\n";
  }
}

}  // namespace

milliseconds client_arguments::timeout() const {
  return milliseconds(static_cast<std::int64_t>(std::clamp(seconds, 0.001, 86400.0) * 1000));
}

expected<std::unique_ptr<link::client>> reach(const client_arguments& arguments) {
  link::options own;
  auto identity = access::client_identity(arguments.key);
  if (!identity) return tl::unexpected(identity.error());
  own.identity = std::move(*identity);
  auto client = link::client::connect(arguments.endpoint, arguments.timeout(), std::move(own));
  if (!client) return tl::unexpected(with_next_step(client.error()));
  return client;
}

expected<void> show_models(const client_arguments& arguments) {
  auto client = reach(arguments);
  if (!client) return tl::unexpected(client.error());
  auto models = (*client)->describe(arguments.timeout());
  if (!models) return tl::unexpected(models.error());
  if (!arguments.json) {
    print(*models);
    return {};
  }
  auto list = ordered_json::array();
  for (const auto& m : models->models)
    list.push_back({{"name", m.name},
                    {"version", m.version},
                    {"state", text_of(m.state)},
                    {"reason", m.reason},
                    {"inputs", specs_json(m.inputs)},
                    {"outputs", specs_json(m.outputs)},
                    {"max_batch", m.max_batch}});
  print_json({{"models", std::move(list)}});
  return {};
}

expected<void> show_status(const client_arguments& arguments, const std::string& only) {
  auto client = reach(arguments);
  if (!client) return tl::unexpected(client.error());
  auto report = (*client)->inquire(arguments.timeout());
  if (!report) return tl::unexpected(report.error());
  if (!only.empty()) {
    std::erase_if(report->services, [&](const auto& service) { return service.service != only; });
    if (report->services.empty())
      return fail(errc::not_found,
                  "no " + only + " reports to this mesh (kinds: gateway, scheduler, worker, cache, precision)");
  }
  if (!arguments.json) {
    print(*report, !only.empty());
    return {};
  }
  auto list = ordered_json::array();
  for (const auto& service : report->services) {
    auto figures = ordered_json::object();
    for (const auto& figure : service.figures) figures[figure.name] = figure.value;
    list.push_back({{"service", service.service}, {"instance", id_text(service.instance)}, {"figures", figures}});
    if (service.service != "precision") continue;
    list.back()["plans"] = ordered_json::array();
    for (const auto& plan : service.plans) list.back()["plans"].push_back(plan_json(plan));
  }
  print_json({{"services", std::move(list)}});
  return {};
}

}  // namespace shoal::services
