// `shoal infer`: one inference, from what one types.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "gateway/admission.hpp"
#include "gateway/http_door/json_tensors.hpp"
#include "gateway/open_inference.hpp"
#include "link/client.hpp"
#include "services/mesh/describe.hpp"
#include "services/mesh/names.hpp"
#include "services/mesh/nested.hpp"
#include "services/mesh/output.hpp"
#include "services/mesh/outputs_text.hpp"
#include "services/mesh/verbs.hpp"

namespace shoal::services {

using nlohmann::json;

namespace {

expected<json> parse(const std::string& text, const std::string& where) {
  try {
    return json::parse(text);
  } catch (const json::out_of_range&) {
    return fail(errc::invalid_argument, where + ": a number in it is larger than any type can hold");
  } catch (const json::parse_error& wrong) {
    return fail(errc::invalid_argument, where + ": this is not JSON, from byte " + std::to_string(wrong.byte) +
                                            " on (" + text.substr(wrong.byte > 20 ? wrong.byte - 20 : 0, 40) + ")");
  }
}

expected<tensor> read_input(const std::string& argument, const protocol::model_spec& spec) {
  const auto equals = argument.find('=');
  const auto name = argument.substr(0, equals);
  if (equals == std::string::npos) return fail(errc::invalid_argument, "--input " + argument + ": write NAME=JSON");
  const auto where = "--input " + name;
  auto text = argument.substr(equals + 1);
  if (text.starts_with('@')) {
    std::ifstream file(text.substr(1));
    if (!file) return fail(errc::not_found, where + ": cannot read " + text.substr(1));
    text = (std::stringstream() << file.rdbuf()).str();
  }
  const auto found =
      std::find_if(spec.inputs.begin(), spec.inputs.end(), [&](const auto& s) { return s.name == name; });
  if (found == spec.inputs.end()) {
    std::string known;
    for (const auto& input : spec.inputs) known += (known.empty() ? "" : ", ") + text_of(input);
    return fail(errc::invalid_argument, "the model has no input '" + name + "'; its inputs are: " + known);
  }
  const auto value = parse(text, where);
  if (!value) return tl::unexpected(value.error());
  tensor input{name, found->type, dims_of(*value), {}};
  // The text itself: numbers that went through `value` would be doubles, or fewer digits.
  const auto first = text.find_first_not_of(" \t\r\n");
  const auto elements = value->is_array() ? text.substr(first) : "[" + text + "]";
  auto data = gateway::http_door::elements_of(elements, input.type, input.dims, where);
  if (!data) return tl::unexpected(data.error());
  input.data = std::move(*data);
  return input;
}

/// Elements go straight to text, as the HTTP door writes them.
void print(const protocol::outcome& outcome) {
  std::cout << "{\"model\":" << json(outcome.model).dump(-1, ' ', false, json::error_handler_t::replace)
            << ",\"version\":" << outcome.version << ",\"outputs\":" << outputs_text(*outcome.result) << "}\n";
}

}  // namespace

expected<void> run_inference(const client_arguments& arguments, const infer_arguments& wanted) {
  const auto named = read_model_name(wanted.model);
  if (!named) return tl::unexpected(named.error());
  auto client = reach(arguments);
  if (!client) return tl::unexpected(client.error());
  auto told = (*client)->describe(arguments.timeout());
  if (!told) return tl::unexpected(told.error());
  const gateway::model_list models{std::move(*told), true};
  const auto& [name, version] = *named;
  const auto spec = gateway::find_model(models, name, version);
  if (!spec) return tl::unexpected(with_next_step(spec.error()));
  protocol::infer request;
  request.model = name;
  request.version = (*spec)->version;
  request.outputs = wanted.outputs;
  const auto priority = gateway::read_priority(wanted.priority);
  if (!priority) return tl::unexpected(priority.error());
  request.priority = *priority;
  for (const auto& argument : wanted.inputs) {
    auto input = read_input(argument, **spec);
    if (!input) return tl::unexpected(input.error());
    request.inputs.push_back(std::move(*input));
  }
  auto outcome = (*client)->infer(std::move(request), arguments.timeout());
  if (!outcome.result) return tl::unexpected(outcome.result.error());
  print(outcome);
  return {};
}

}  // namespace shoal::services
