#include "services/mesh/outputs_text.hpp"

#include <nlohmann/json.hpp>

#include "gateway/http_door/json_tensors.hpp"

namespace shoal::services {

using nlohmann::json;

std::string outputs_text(const std::vector<tensor>& outputs) {
  std::string text = "[";
  for (const auto& output : outputs) {
    if (text.size() > 1) text += ",";
    text += "{\"name\":" + json(output.name).dump(-1, ' ', false, json::error_handler_t::replace) + ",\"datatype\":\"" +
            std::string(name_of(output.type)) + "\",\"shape\":" + json(output.dims).dump() + ",\"data\":";
    if (gateway::http_door::why_not_json(output.type).empty())
      gateway::http_door::append_elements(text, output.type, output.data.bytes());
    else
      text += "null";
    text += "}";
  }
  return text + "]";
}

}  // namespace shoal::services
