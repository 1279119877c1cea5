#include "services/mesh/verbs.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "gateway/admission.hpp"
#include "gateway/http_door/json_tensors.hpp"
#include "link/client.hpp"

namespace shoal::services {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

milliseconds timeout_of(const client_arguments& arguments) {
  return milliseconds(static_cast<std::int64_t>(std::clamp(arguments.seconds, 0.001, 86400.0) * 1000));
}

std::string shape_text(const protocol::tensor_spec& spec) {
  std::string text;
  for (const auto& dim : spec.dims)
    text += (text.empty() ? "" : ", ") + (dim.is_fixed()       ? std::to_string(dim.min)
                                          : dim.symbol.empty() ? std::string("?")
                                                               : dim.symbol);
  return spec.name + " " + std::string(name_of(spec.type)) + "[" + text + "]";
}

std::string_view state_text(protocol::model_state state) {
  switch (state) {
    case protocol::model_state::loading: return "loading";
    case protocol::model_state::ready: return "ready";
    case protocol::model_state::failed: return "failed";
  }
  return "unknown";
}

ordered_json shape_json(const std::vector<protocol::tensor_spec>& specs) {
  auto list = ordered_json::array();
  for (const auto& spec : specs) {
    auto dims = ordered_json::array();
    for (const auto& dim : spec.dims) dims.push_back(dim.is_fixed() ? dim.min : -1);
    list.push_back({{"name", spec.name}, {"datatype", name_of(spec.type)}, {"shape", dims}});
  }
  return list;
}

/// Sizes of nested arrays, taken from the first element at each level; elements_of checks the others.
shape dims_of(const json& value) {
  shape dims;
  for (const auto* at = &value; at->is_array(); at = &at->front()) {
    dims.push_back(static_cast<std::int64_t>(at->size()));
    if (at->empty()) break;
  }
  return dims;
}

expected<tensor> read_input(const std::string& argument, const protocol::model_spec& spec) {
  const auto equals = argument.find('=');
  const auto name = argument.substr(0, equals);
  if (equals == std::string::npos) return fail(errc::invalid_argument, "--input " + argument + ": write NAME=JSON");
  auto text = argument.substr(equals + 1);
  if (text.starts_with('@')) {
    std::ifstream file(text.substr(1));
    if (!file) return fail(errc::not_found, "--input " + name + ": cannot read " + text.substr(1));
    text = (std::stringstream() << file.rdbuf()).str();
  }
  const auto found =
      std::find_if(spec.inputs.begin(), spec.inputs.end(), [&](const auto& s) { return s.name == name; });
  if (found == spec.inputs.end()) {
    std::string known;
    for (const auto& input : spec.inputs) known += (known.empty() ? "" : ", ") + shape_text(input);
    return fail(errc::invalid_argument, "the model has no input '" + name + "'; its inputs are: " + known);
  }
  const auto value = json::parse(text, nullptr, false);
  if (value.is_discarded())
    return fail(errc::invalid_argument, "--input " + name + ": this is not JSON: " + text.substr(0, 60));
  tensor input{name, found->type, dims_of(value), {}};
  const auto elements = value.is_array() ? text : "[" + text + "]";
  auto data = gateway::http_door::elements_of(elements, input.type, input.dims, "--input " + name);
  if (!data) return tl::unexpected(data.error());
  input.data = std::move(*data);
  return input;
}

std::pair<std::string, std::uint64_t> split_version(const std::string& model) {
  const auto slash = model.find('/');
  std::uint64_t version = 0;
  if (slash != std::string::npos) std::from_chars(model.data() + slash + 1, model.data() + model.size(), version);
  return {model.substr(0, slash), version};
}

void print_outcome(const protocol::outcome& outcome) {
  std::string text =
      "{\"model\":" + json(outcome.model).dump() + ",\"version\":" + std::to_string(outcome.version) + ",\"outputs\":[";
  bool first = true;
  for (const auto& output : *outcome.result) {
    text += std::string(first ? "" : ",") + "{\"name\":" + json(output.name).dump() + ",\"datatype\":\"" +
            std::string(name_of(output.type)) + "\",\"shape\":" + json(output.dims).dump() + ",\"data\":";
    if (gateway::http_door::why_not_json(output.type).empty())
      gateway::http_door::append_elements(text, output.type, output.data.bytes());
    else
      text += "null";
    text += "}";
    first = false;
  }
  std::cout << text << "]}\n";
}

}  // namespace

expected<void> show_models(const client_arguments& arguments) {
  auto client = link::client::connect(arguments.endpoint, timeout_of(arguments));
  if (!client) return tl::unexpected(client.error());
  auto models = (*client)->describe(timeout_of(arguments));
  if (!models) return tl::unexpected(models.error());
  if (arguments.json) {
    auto list = ordered_json::array();
    for (const auto& m : models->models)
      list.push_back({{"name", m.name},
                      {"version", m.version},
                      {"state", state_text(m.state)},
                      {"reason", m.reason},
                      {"inputs", shape_json(m.inputs)},
                      {"outputs", shape_json(m.outputs)},
                      {"max_batch", m.max_batch}});
    std::cout << list.dump(2) << "\n";
    return {};
  }
  for (const auto& m : models->models) {
    std::cout << m.name << "/" << m.version << "  " << state_text(m.state);
    if (!m.reason.empty()) std::cout << "  (" << m.reason << ")";
    std::cout << "\n";
    for (const auto& input : m.inputs) std::cout << "    in   " << shape_text(input) << "\n";
    for (const auto& output : m.outputs) std::cout << "    out  " << shape_text(output) << "\n";
    if (!m.batch_symbol.empty())
      std::cout << "    joins requests along " << m.batch_symbol << ", up to " << m.max_batch << " rows"
                << (m.pad_symbol.empty() ? "" : ", padding " + m.pad_symbol) << "\n";
  }
  if (models->models.empty()) std::cout << "no models: add one with `shoal import FILE.pt2 --models DIR`\n";
  return {};
}

expected<void> show_status(const client_arguments& arguments, const std::string& only) {
  auto client = link::client::connect(arguments.endpoint, timeout_of(arguments));
  if (!client) return tl::unexpected(client.error());
  auto report = (*client)->inquire(timeout_of(arguments));
  if (!report) return tl::unexpected(report.error());
  if (!only.empty()) {
    std::erase_if(report->services, [&](const auto& service) { return service.service != only; });
    if (report->services.empty())
      return fail(errc::not_found, "no " + only + " reports to this mesh (kinds: gateway, scheduler, worker, cache)");
  }
  if (arguments.json) {
    auto list = ordered_json::array();
    for (const auto& service : report->services) {
      ordered_json figures;
      for (const auto& figure : service.figures) figures[figure.name] = figure.value;
      list.push_back({{"service", service.service}, {"instance", service.instance}, {"figures", figures}});
    }
    std::cout << list.dump(2) << "\n";
    return {};
  }
  for (const auto& service : report->services) {
    std::cout << service.service << " " << std::hex << service.instance << std::dec << "\n";
    for (const auto& figure : service.figures)
      if (figure.value != 0 || !only.empty())
        std::cout << "    " << std::left << std::setw(60) << figure.name << figure.value << "\n";
  }
  return {};
}

expected<void> run_inference(const client_arguments& arguments, const infer_arguments& wanted) {
  auto client = link::client::connect(arguments.endpoint, timeout_of(arguments));
  if (!client) return tl::unexpected(client.error());
  auto models = (*client)->describe(timeout_of(arguments));
  if (!models) return tl::unexpected(models.error());
  const auto [name, version] = split_version(wanted.model);
  const auto spec = gateway::find_model(*models, name, version);
  if (!spec) return tl::unexpected(spec.error());
  protocol::infer request;
  request.model = name;
  request.version = (*spec)->version;
  request.outputs = wanted.outputs;
  for (const auto& argument : wanted.inputs) {
    auto input = read_input(argument, **spec);
    if (!input) return tl::unexpected(input.error());
    request.inputs.push_back(std::move(*input));
  }
  auto outcome = (*client)->infer(std::move(request), timeout_of(arguments));
  if (!outcome.result) return tl::unexpected(outcome.result.error());
  print_outcome(outcome);
  return {};
}

}  // namespace shoal::services
