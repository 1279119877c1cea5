#include "gateway/http_door/infer_response.hpp"

#include <nlohmann/json.hpp>

#include "gateway/http_door/binary_tensors.hpp"
#include "gateway/http_door/json_tensors.hpp"

namespace shoal::gateway::http_door {

namespace {

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void append_description(std::string& json, const tensor& output) {
  json += "{\"name\":" + quoted(output.name);
  json.append(",\"datatype\":\"").append(name_of(output.type)).append("\",\"shape\":[");
  for (std::size_t i = 0; i < output.dims.size(); ++i) json.append(i ? "," : "").append(std::to_string(output.dims[i]));
  json += ']';
}

}  // namespace

http::response to_response(const protocol::outcome& outcome, const answer_format& format) {
  if (!outcome.result) return http::error_response(outcome.result.error());
  std::string json =
      "{\"model_name\":" + quoted(outcome.model) + ",\"model_version\":\"" + std::to_string(outcome.version) + '"';
  if (!format.id.empty()) json += ",\"id\":" + quoted(format.id);
  if (!outcome.plan.empty()) json += ",\"parameters\":{\"plan\":" + quoted(outcome.plan) + "}";
  json += ",\"outputs\":[";
  std::vector<buffer> binary;
  bool first = true;
  for (const auto& output : *outcome.result) {
    if (!std::exchange(first, false)) json += ',';
    append_description(json, output);
    if (format.is_binary(output.name)) {
      json += ",\"parameters\":{\"binary_data_size\":" + std::to_string(output.data.size()) + "}}";
      binary.push_back(output.data);
      continue;
    }
    if (auto reason = why_not_json(output.type); !reason.empty())
      return http::error_response(
          400, "output '" + output.name + "': " + std::string(reason) + "; ask for it with parameters.binary_data");
    json += ",\"data\":";
    append_elements(json, output.type, output.data.bytes());
    json += '}';
  }
  json += "]}";
  auto json_length = json.size();
  auto answer = http::json_response(std::move(json));
  if (!binary.empty()) {
    answer.content_type = "application/octet-stream";
    answer.fields.emplace_back(json_length_field, std::to_string(json_length));
    answer.body.insert(answer.body.end(), binary.begin(), binary.end());
  }
  return answer;
}

}  // namespace shoal::gateway::http_door
