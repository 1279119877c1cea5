#include "services/mesh/check.hpp"

#include <charconv>
#include <iomanip>
#include <iostream>
#include <limits>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "worker/model_report.hpp"

namespace shoal::services {

using executor::nodes_in;
using nlohmann::ordered_json;
using worker::model_report;

namespace {

expected<std::pair<std::string, shape>> parse_shape(const std::string& argument) {
  const auto wrong = [&] {
    return fail(errc::invalid_argument, "--input " + argument + ": write NAME=DIMxDIM, for example input_ids=8x64");
  };
  const auto equals = argument.rfind('=');
  if (equals == std::string::npos || equals == 0) return wrong();
  shape dims;
  const auto* at = argument.data() + equals + 1;
  const auto* const end = argument.data() + argument.size();
  while (at != end) {
    std::int64_t size = 0;
    const auto [next, failed] = std::from_chars(at, end, size);
    if (failed != std::errc{} || size < 0) return wrong();
    dims.push_back(size);
    if (next != end && (*next != 'x' || next + 1 == end)) return wrong();
    at = next == end ? end : next + 1;
  }
  return std::pair(argument.substr(0, equals), std::move(dims));
}

bool is_unbounded(const protocol::dimension& dim) { return dim.max == std::numeric_limits<std::int64_t>::max(); }

std::string sizes_text(const shape& dims) {
  std::string text;
  for (const auto size : dims) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "scalar" : text;
}

std::string spec_text(const protocol::tensor_spec& spec) {
  std::string text;
  for (const auto& dim : spec.dims) {
    if (!text.empty()) text += ", ";
    if (dim.is_fixed())
      text += std::to_string(dim.min);
    else
      text += (dim.symbol.empty() ? "" : dim.symbol + ": ") + std::to_string(dim.min) + ".." +
              (is_unbounded(dim) ? "" : std::to_string(dim.max));
  }
  return spec.name + " " + std::string(name_of(spec.type)) + "[" + text + "]";
}

std::string bytes_text(std::uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

std::string padding_text(const model_report& report) {
  const auto& spec = report.graph.spec;
  if (!spec.pad_symbol.empty())
    return "along " + spec.pad_symbol + ", as model.toml declares" +
           (report.padding_verified ? "; it does not change the answers" : "; import verifies it");
  return report.has_toml ? "none declared in model.toml" : "none declared: there is no model.toml beside the file";
}

std::string joining_text(const protocol::model_spec& spec, const std::string& why_not) {
  if (spec.batch_symbol.empty()) return "each runs alone: " + why_not;
  return "joined along " + spec.batch_symbol + ", up to " + std::to_string(spec.max_batch) + " rows";
}

void print_kinds(const model_report& report) {
  std::set<std::string> all;
  for (const auto* kinds : {&report.graph.exported, &report.kinds})
    for (const auto& [kind, nodes] : *kinds) all.insert(kind);
  const auto of = [](const executor::node_kinds& kinds, const std::string& kind) {
    const auto found = kinds.find(kind);
    return found == kinds.end() ? std::size_t{0} : found->second;
  };
  std::cout << "nodes: " << nodes_in(report.graph.exported) << " exported";
  if (report.runs()) std::cout << ", " << nodes_in(report.kinds) << " run after passes and folding";
  std::cout << "\n";
  for (const auto& kind : all) {
    std::cout << "    " << std::left << std::setw(56) << kind << std::right << std::setw(6)
              << of(report.graph.exported, kind);
    if (report.runs()) std::cout << std::setw(6) << of(report.kinds, kind);
    std::cout << "\n";
  }
}

void print_run(const model_report& report) {
  std::cout << "memory: " << bytes_text(report.figures->weight_bytes) << " of weights mapped, "
            << bytes_text(report.figures->made_bytes) << " packed or folded at load\n";
  std::string shapes;
  for (const auto& [name, dims] : report.run->inputs)
    shapes += (shapes.empty() ? "" : ", ") + name + "=" + sizes_text(dims);
  if (!report.run->failure)
    std::cout << "    activations measured at shape " << shapes << ": " << bytes_text(report.run->arena_bytes)
              << " by the memory plan, " << bytes_text(report.run->first_bytes) << " in the first run\n";
  else
    std::cout << "    activations not measured at shape " << shapes
              << ", filled with ones: " << report.run->failure->message << "\n";
}

void print_text(const model_report& report, const std::string& file) {
  const auto& graph = report.graph;
  std::cout << file << ": " << (report.runs() ? "it runs" : "it will not run") << "\n";
  for (const auto& each : graph.refused) {
    std::cout << "    refused: " << each.reason.message << "\n";
  }
  if (graph.exported.empty() && graph.spec.inputs.empty() && graph.spec.outputs.empty()) return;
  for (const auto& input : graph.spec.inputs) std::cout << "input   " << spec_text(input) << "\n";
  for (const auto& output : graph.spec.outputs) std::cout << "output  " << spec_text(output) << "\n";
  if (report.runs()) {
    std::cout << "requests: " << joining_text(graph.spec, graph.why_not_joined) << "\n";
    std::cout << "padding: " << padding_text(report) << "\n";
  }
  print_kinds(report);
  for (const auto& pass : graph.passes)
    if (pass.changed)
      std::cout << "pass " << std::left << std::setw(20) << pass.name << pass.before << " -> " << pass.after
                << " nodes\n";
  if (report.runs() && nodes_in(graph.left) != nodes_in(report.kinds))
    std::cout << "pass " << std::left << std::setw(20) << "fold_constants" << nodes_in(graph.left) << " -> "
              << nodes_in(report.kinds) << " nodes\n";
  std::cout << "weights: " << graph.weight_tensors << " tensors, " << graph.parameters << " elements\n";
  if (report.runs()) print_run(report);
}

ordered_json specs_json(const std::vector<protocol::tensor_spec>& specs) {
  auto list = ordered_json::array();
  for (const auto& spec : specs) {
    auto dims = ordered_json::array();
    for (const auto& dim : spec.dims) {
      ordered_json one{{"symbol", dim.symbol}, {"min", dim.min}, {"max", dim.max}};
      if (is_unbounded(dim)) one["max"] = nullptr;
      dims.push_back(std::move(one));
    }
    list.push_back({{"name", spec.name}, {"datatype", name_of(spec.type)}, {"dims", std::move(dims)}});
  }
  return list;
}

ordered_json kinds_json(const executor::node_kinds& kinds) {
  auto counts = ordered_json::object();
  for (const auto& [kind, nodes] : kinds) counts[kind] = nodes;
  return {{"count", nodes_in(kinds)}, {"kinds", std::move(counts)}};
}

ordered_json report_json(const model_report& report, const std::string& file) {
  const auto& graph = report.graph;
  ordered_json all{{"file", file}, {"runs", report.runs()}};
  all["refusals"] = ordered_json::array();
  for (const auto& each : graph.refused)
    all["refusals"].push_back({{"node", each.node},
                               {"operator", each.target},
                               {"code", name_of(each.reason.code)},
                               {"reason", each.reason.message}});
  all["inputs"] = specs_json(graph.spec.inputs);
  all["outputs"] = specs_json(graph.spec.outputs);
  all["batch"] = {{"symbol", graph.spec.batch_symbol},
                  {"max", graph.spec.max_batch},
                  {"why_not", graph.spec.batch_symbol.empty() ? graph.why_not_joined : ""}};
  all["padding"] = {
      {"symbol", graph.spec.pad_symbol}, {"model_toml", report.has_toml}, {"verified", report.padding_verified}};
  all["nodes"] = {{"exported", kinds_json(graph.exported)},
                  {"run", report.runs() ? kinds_json(report.kinds) : ordered_json()}};
  all["passes"] = ordered_json::array();
  const auto add_pass = [&](const std::string& name, std::size_t before, std::size_t after, bool changed) {
    all["passes"].push_back({{"name", name}, {"before", before}, {"after", after}, {"changed", changed}});
  };
  for (const auto& pass : graph.passes) add_pass(pass.name, pass.before, pass.after, pass.changed);
  if (report.runs())
    add_pass("fold_constants", nodes_in(graph.left), nodes_in(report.kinds),
             nodes_in(graph.left) != nodes_in(report.kinds));
  all["weights"] = {{"tensors", graph.weight_tensors}, {"elements", graph.parameters}};
  all["memory"] = nullptr;
  if (!report.runs()) return all;
  all["weights"]["bytes"] = report.figures->weight_bytes;
  auto shapes = ordered_json::object();
  for (const auto& [name, dims] : report.run->inputs) shapes[name] = dims;
  const bool ran = !report.run->failure;
  all["memory"] = {{"weight_bytes", report.figures->weight_bytes},
                   {"packed_bytes", report.figures->made_bytes},
                   {"measured_at", std::move(shapes)},
                   {"arena_bytes", ran ? ordered_json(report.run->arena_bytes) : ordered_json()},
                   {"first_run_bytes", ran ? ordered_json(report.run->first_bytes) : ordered_json()},
                   {"why_not_measured", ran ? "" : report.run->failure->message}};
  return all;
}

}  // namespace

expected<bool> check_model(const check_arguments& wanted) {
  std::map<std::string, shape> shapes;
  for (const auto& argument : wanted.inputs) {
    auto parsed = parse_shape(argument);
    if (!parsed) return tl::unexpected(parsed.error());
    if (!shapes.insert(*std::move(parsed)).second)
      return fail(errc::invalid_argument, "--input " + argument + ": this input was given before");
  }
  const auto report = worker::report_on(wanted.file, shapes);
  if (!report) return tl::unexpected(report.error());
  if (wanted.json)  // names in a hostile file need not be UTF-8
    std::cout << report_json(*report, wanted.file.string()).dump(2, ' ', false, ordered_json::error_handler_t::replace)
              << "\n";
  else
    print_text(*report, wanted.file.string());
  return report->runs();
}

}  // namespace shoal::services
