#include "gateway/http_door/descriptions.hpp"

#include <nlohmann/json.hpp>

#include "gateway/http_door/json_reader.hpp"
#include "gateway/open_inference.hpp"

namespace shoal::gateway::http_door {

using nlohmann::json;
using protocol::model_state;

namespace {

std::string text_of(const json& document) { return document.dump(-1, ' ', false, json::error_handler_t::replace); }

json describe_tensors(const std::vector<protocol::tensor_spec>& specs) {
  auto list = json::array();
  for (const auto& spec : specs) {
    auto sizes = json::array();
    for (const auto& dim : spec.dims) sizes.push_back(dim.is_fixed() ? dim.min : -1);
    list.push_back({{"name", spec.name}, {"datatype", name_of(spec.type)}, {"shape", std::move(sizes)}});
  }
  return list;
}

}  // namespace

std::string describe_server() {
  return text_of({{"name", "shoal"}, {"version", SHOAL_VERSION}, {"extensions", {"binary_tensor_data"}}});
}

std::string describe_model(const protocol::model_spec& spec, const protocol::catalogue& models) {
  auto versions = json::array();
  for (const auto& other : models.models)
    if (other.name == spec.name && other.state == model_state::ready) versions.push_back(std::to_string(other.version));
  return text_of({{"name", spec.name},
                  {"versions", std::move(versions)},
                  {"platform", platform},
                  {"inputs", describe_tensors(spec.inputs)},
                  {"outputs", describe_tensors(spec.outputs)}});
}

expected<std::string> describe_repository(const protocol::catalogue& models, std::string_view body) {
  bool ready_only = false;
  if (!body.empty()) {
    json_reader reader(body);
    reader.object([&](std::string_view name) {
      if (name == "ready")
        ready_only = reader.boolean();
      else
        reader.skip();
    });
    reader.end();
    if (reader.failed()) return tl::unexpected(reader.failure());
  }
  auto list = json::array();
  for (const auto& spec : models.models)
    if (!ready_only || spec.state == model_state::ready)
      list.push_back({{"name", spec.name},
                      {"version", std::to_string(spec.version)},
                      {"state", name_of_state(spec.state)},
                      {"reason", spec.reason}});
  return text_of(list);
}

}  // namespace shoal::gateway::http_door
