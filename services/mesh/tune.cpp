#include "services/mesh/tune.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <optional>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "executor/graph_report.hpp"
#include "executor/model.hpp"
#include "executor/model_directory.hpp"
#include "precision/planner.hpp"
#include "protocol/join.hpp"
#include "services/mesh/bench/chart.hpp"
#include "services/mesh/bench/requests.hpp"
#include "services/mesh/metric_script.hpp"
#include "services/mesh/output.hpp"
#include "worker/gather.hpp"

namespace shoal::services {

namespace fs = std::filesystem;
using executor::precision_plan;
using nlohmann::ordered_json;
using precision::planning_result;

namespace {

/// Requests of the data that executions are made of.
constexpr std::size_t most_requests = 256;
constexpr std::size_t rows_of_a_batch = 8;
constexpr std::size_t most_batches = 6;
constexpr std::size_t most_singles = 4;

expected<fs::path> find_archive(const tune_arguments& given) {
  if (given.model.ends_with(".pt2")) return fs::path(given.model);
  const auto slash = given.model.find('/');
  std::uint64_t version = 0;
  if (slash != std::string::npos) {
    const auto* begin = given.model.data() + slash + 1;
    const auto* end = given.model.data() + given.model.size();
    const auto [next, failed] = std::from_chars(begin, end, version);
    if (failed != std::errc{} || next != end || version == 0)
      return fail(errc::invalid_argument, given.model + ": write NAME, NAME/VERSION or FILE.pt2");
  }
  const auto found = executor::find_version(given.models, given.model.substr(0, slash), version);
  if (!found) return tl::unexpected(found.error());
  return found->folder / "model.pt2";
}

expected<protocol::model_spec> read_spec(const fs::path& archive) {
  const auto report = executor::examine(archive);
  if (!report.refused.empty()) return tl::unexpected(report.refused.front().reason);
  auto spec = report.spec;
  if (auto applied = executor::apply_model_toml(archive.parent_path(), spec); !applied)
    return tl::unexpected(applied.error());
  return spec;
}

/// The requests of --data, inputs in the model's order.
expected<std::vector<std::vector<tensor>>> read_data(const std::string& file, const protocol::model_spec& spec) {
  bench::request_options options;
  options.file = file;
  options.file_option = "--data";
  const auto made = bench::make_requests(options, spec.name, {spec.inputs, spec.outputs});
  if (!made) return tl::unexpected(made.error());
  std::vector<std::vector<tensor>> requests;
  for (const auto& each : made->distinct) {
    std::vector<tensor> ordered;
    for (const auto& input : spec.inputs) {
      const auto found =
          std::find_if(each.begin(), each.end(), [&](const auto& one) { return one.name == input.name; });
      if (found == each.end())
        return fail(errc::invalid_argument, file + " has a request without the input '" + input.name + "'");
      ordered.push_back(*found);
    }
    requests.push_back(std::move(ordered));
  }
  if (requests.empty()) return fail(errc::invalid_argument, file + " has no request: one JSON object a line");
  return requests;
}

/// Executions as a worker would make them of the requests: batches of those that may be joined, and some alone.
std::vector<std::vector<tensor>> executions_of(const std::vector<std::vector<tensor>>& all,
                                               const protocol::model_spec& spec) {
  // From all over the file, which may be sorted.
  std::vector<std::vector<tensor>> requests;
  const auto apart = (all.size() + most_requests - 1) / most_requests;
  for (std::size_t i = 0; i < all.size(); i += apart) requests.push_back(all[i]);
  std::vector<std::vector<tensor>> made;
  const auto step = std::max<std::size_t>(1, requests.size() / most_singles);
  for (std::size_t i = 0; i < requests.size() && made.size() < most_singles; i += step) made.push_back(requests[i]);
  const auto rows = std::min<std::size_t>(rows_of_a_batch, static_cast<std::size_t>(protocol::row_limit(spec)));
  std::vector<bool> taken(requests.size());
  std::size_t batches = 0;
  for (std::size_t i = 0; i < requests.size() && batches < most_batches && rows > 1; ++i) {
    if (taken[i]) continue;
    const auto first = protocol::profile_of(spec, requests[i]);
    std::vector<const std::vector<tensor>*> members;
    for (auto j = i; j < requests.size() && members.size() < rows; ++j) {
      const auto profile = protocol::profile_of(spec, requests[j]);
      const bool joins = protocol::may_join(first, profile) && profile.rows == 1 &&
                         (!spec.pad_symbol.empty() || profile.length == first.length);
      if (taken[j] || !joins) continue;
      taken[j] = true;
      members.push_back(&requests[j]);
    }
    if (members.size() < rows) continue;
    made.push_back(worker::gather(spec, members));
    ++batches;
  }
  return made;
}

class progress_line {
 public:
  explicit progress_line(bool shows) : shows_(shows && ::isatty(STDERR_FILENO) != 0) {}
  void operator()(std::string_view phase, double share) {
    if (!shows_) return;
    std::fprintf(stderr, "\r\033[K%.*s: %.0f%%", static_cast<int>(phase.size()), phase.data(), share * 100);
    if (phase == "done") std::fputs("\r\033[K", stderr);
  }

 private:
  bool shows_;
};

/// Takes the plan of that policy in place of the measured one.
void follow(const std::string& policy, planning_result& found) {
  if (policy == "fp32") {
    found.plan.nodes.clear();
    found.plan.policy = policy;
    found.plan.speedup = 1;
    found.plan.error = 0;
    found.verdict = "fp32, as asked for";
  }
  for (const auto& other : found.policies) {
    if (other.policy != policy) continue;
    found.plan = other;
    char text[160];
    std::snprintf(text, sizeof text, "%.2f times as fast as fp32 with an error of %.2f%%: the policy %s, as asked for",
                  other.speedup, other.error * 100, policy.c_str());
    found.verdict = text;
  }
}

std::map<std::string, std::size_t> counts_of(const precision_plan& plan, std::size_t nodes) {
  std::map<std::string, std::size_t> counts;
  for (const auto& [name, node] : plan.nodes) ++counts[std::string(name_of(node.as))];
  counts["fp32"] = nodes - plan.nodes.size();
  return counts;
}

std::string counts_text(const precision_plan& plan, std::size_t nodes) {
  std::string text;
  for (const auto& [name, count] : counts_of(plan, nodes))
    if (count > 0) text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + name;
  return text;
}

void print_text(const planning_result& found, const fs::path& file, bool writes) {
  std::cout << std::fixed << std::setprecision(2);
  if (!found.curve.empty()) {
    std::cout << "  times as fast     error   budget   nodes\n";
    for (const auto& point : found.policies)
      std::cout << std::setw(15) << point.speedup << std::setw(9) << point.error * 100 << "%" << std::setw(9) << "-"
                << "   " << counts_text(point, found.nodes.size()) << "  (policy " << point.policy << ")\n";
    for (const auto& point : found.curve)
      std::cout << std::setw(15) << point.speedup << std::setw(9) << point.error * 100 << "%" << std::setw(8)
                << point.budget * 100 << "%   " << counts_text(point, found.nodes.size())
                << (point.nodes == found.plan.nodes ? "  <- chosen" : "") << "\n";
  }
  std::cout << found.verdict << "\n";
  if (writes) std::cout << "plan " << found.plan.epoch() << " is in " << file.string() << "\n";
}

ordered_json point_json(const precision_plan& point, std::size_t nodes) {
  return {{"epoch", point.epoch()},
          {"speedup", point.speedup},
          {"error", point.error},
          {"budget", point.budget},
          {"nodes", counts_of(point, nodes)}};
}

ordered_json to_json(const planning_result& found, const fs::path& file, bool writes) {
  ordered_json all{{"plan", point_json(found.plan, found.nodes.size())}, {"verdict", found.verdict}};
  all["file"] = writes ? ordered_json(file.string()) : ordered_json();
  all["curve"] = ordered_json::array();
  for (const auto& point : found.curve) all["curve"].push_back(point_json(point, found.nodes.size()));
  all["policies"] = ordered_json::object();
  for (const auto& point : found.policies) all["policies"][point.policy] = point_json(point, found.nodes.size());
  all["nodes"] = ordered_json::array();
  for (const auto& node : found.nodes) {
    ordered_json choices = ordered_json::array();
    for (const auto& choice : node.choices)
      choices.push_back({{"precision", name_of(choice.choice.as)},
                         {"smoothing", !choice.choice.smoothing.empty()},
                         {"clip", choice.choice.clip},
                         {"gain", choice.gain},
                         {"error", choice.error < 0 ? ordered_json() : ordered_json(choice.error)}});
    all["nodes"].push_back({{"name", node.name},
                            {"columns", node.columns},
                            {"inner", node.inner},
                            {"share", node.share},
                            {"choices", std::move(choices)}});
  }
  return all;
}

expected<void> write_page(const planning_result& found, const std::string& model, const std::string& file) {
  bench::chart drawn;
  drawn.title = "What speed costs: " + model;
  drawn.x.label = "error of the outputs (%)";
  drawn.y.label = "times as fast as fp32";
  bench::series curve{"measured plans", {}, false};
  for (const auto& point : found.curve) curve.points.emplace_back(point.error * 100, point.speedup);
  drawn.lines = {curve, {"chosen", {{found.plan.error * 100, std::max(found.plan.speedup, 1.0)}}, false}};
  std::ofstream page(file);
  page << "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>shoal tune: "
       << bench::escaped(model)
       << "</title><style>body{font:15px system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
          "svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#333}"
          "svg .title{font-weight:600;font-size:14px}.grid{stroke:#e4e4e4}.axis{stroke:#555;fill:none}"
          "td,th{padding:.2em .8em;text-align:right}</style></head>\n<body><h1>"
       << bench::escaped(model) << "</h1><p>" << bench::escaped(found.verdict) << "</p>" << bench::to_svg(drawn)
       << "<table><tr><th>times as fast</th><th>error</th><th>nodes</th></tr>";
  for (const auto& point : found.curve)
    page << "<tr><td>" << std::fixed << std::setprecision(2) << point.speedup << "</td><td>" << point.error * 100
         << "%</td><td>" << counts_text(point, found.nodes.size()) << "</td></tr>";
  page << "</table></body></html>\n";
  page.close();
  if (!page) return fail(errc::unavailable, "cannot write " + file);
  return {};
}

}  // namespace

void declare_tune(CLI::App& verb, tune_arguments& given) {
  verb.add_option("model", given.model, "FILE.pt2, or NAME or NAME/VERSION of the model directory")->required();
  verb.add_option("--models", given.models, "the model directory")->capture_default_str();
  verb.add_option("--data", given.data, "requests to plan with, one JSON object a line: input name -> nested arrays");
  verb.add_option("--metric", given.metric,
                  "a script that reads outputs of the data and prints a score, higher is "
                  "better (services/mesh/README.md)");
  verb.add_option("--metric-seconds", given.metric_seconds, "that the script may take, each time")
      ->check(CLI::Range(1.0, 86400.0))
      ->capture_default_str();
  verb.add_option("--loss", given.most_loss, "of the score, at most")->capture_default_str();
  verb.add_option("--budget", given.budget, "error of the outputs against fp32's, at most")->capture_default_str();
  verb.add_option("--seconds", given.seconds, "for planning, about; half as much again for plans of other budgets")
      ->check(CLI::Range(1.0, 86400.0))
      ->capture_default_str();
  verb.add_option("--threads", given.threads, "compute threads, as the workers have")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  verb.add_option("--device", given.device, "where the workers compute: cpu, or cuda:N")->capture_default_str();
  verb.add_option("--policy", given.policy, "which plan is written: measured, bf16, rule (the published table) or fp32")
      ->check(CLI::IsMember({"measured", "bf16", "rule", "fp32"}))
      ->capture_default_str();
  verb.add_option("--html", given.html, "a page with the trade-off drawn");
  verb.add_flag("!--dry-run", given.writes, "show it, write no plan");
}

expected<void> tune_model(const tune_arguments& given) {
  const auto archive = find_archive(given);
  if (!archive) return tl::unexpected(archive.error());
  const auto spec = read_spec(*archive);
  if (!spec) return tl::unexpected(spec.error());
  precision::planning how;
  how.budget = given.budget;
  how.seconds = given.seconds;
  how.draws_curve = true;
  const auto on = executor::device::parse(given.device);
  if (!on) return fail(on.error().code, "--device: " + on.error().message);
  if (auto ready = executor::prepare_device(*on); !ready) return tl::unexpected(ready.error());
  how.on = *on;
  std::vector<std::vector<tensor>> requests;
  if (!given.data.empty()) {
    auto read = read_data(given.data, *spec);
    if (!read) return tl::unexpected(read.error());
    requests = *std::move(read);
    how.samples = executions_of(requests, *spec);
  } else if (!given.metric.empty()) {
    return fail(errc::invalid_argument, "--metric scores the outputs of requests: give them with --data");
  }
  if (!given.metric.empty() && given.policy != "measured")
    return fail(errc::invalid_argument,
                "--metric chooses among measured plans: leave --policy " + given.policy + " out");
  if (!std::isfinite(given.seconds) || !(given.most_loss >= 0) || !std::isfinite(given.most_loss))
    return fail(errc::invalid_argument, "--seconds and --loss must be numbers, --loss not below 0");
  progress_line shown(!given.json);
  how.progress = [&](std::string_view phase, double share) { shown(phase, share); };
  executor::set_compute_threads(given.threads);
  auto found = precision::plan_precision(*archive, how);
  if (!found) return tl::unexpected(found.error());
  if (!given.metric.empty())
    if (auto scored =
            choose_by_score(*found, *archive, *on, requests, {given.metric, given.most_loss, given.metric_seconds});
        !scored)
      return tl::unexpected(scored.error());
  follow(given.policy, *found);
  // What workers hold it to: not what was aimed at, if it was measured to err more.
  found->plan.budget = std::max(found->plan.error, given.budget);
  const auto file = executor::plan_path(*archive, found->plan.device);
  // A mesh that runs takes it in place of what it has.
  if (const auto before = executor::read_plan(file)) found->plan.generation = before->generation + 1;
  expected<void> kept;
  if (given.writes) kept = executor::write_plan(file, found->plan);
  if (kept && !given.html.empty()) kept = write_page(*found, given.model, given.html);
  // Measured for a minute: shown even where it could not be kept.
  const bool is_kept = given.writes && kept;
  if (!given.json)
    print_text(*found, file, is_kept);
  else if (kept)
    print_json(to_json(*found, file, is_kept));
  if (!kept) return kept;
  return {};
}

}  // namespace shoal::services
