#include "services/mesh/bench/oip_http.hpp"

#include <cstring>

#include <nlohmann/json.hpp>

#include "gateway/http_door/json_tensors.hpp"

namespace shoal::services::bench {

using nlohmann::json;

namespace {

std::string fields_for(const http_address& to) {
  return "Host: " + to.authority() + "\r\nUser-Agent: shoal-bench\r\n" +
         (to.token.empty() ? "" : "Authorization: Bearer " + to.token + "\r\n");
}

std::string model_path(const http_address& to, const std::string& model, std::uint64_t version) {
  return to.prefix + "/v2/models/" + model + (version == 0 ? "" : "/versions/" + std::to_string(version));
}

/// BYTES as an array of strings; text that is not UTF-8 is made so.
json strings_of(std::span<const std::byte> bytes) {
  auto list = json::array();
  for (std::size_t at = 0; at + 4 <= bytes.size();) {
    std::uint32_t length = 0;
    std::memcpy(&length, bytes.data() + at, sizeof length);
    list.push_back(std::string(reinterpret_cast<const char*>(bytes.data()) + at + 4, length));
    at += 4 + length;
  }
  return list;
}

expected<std::string> json_data(const tensor& input) {
  if (input.type == dtype::bytes)
    return strings_of(input.data.bytes()).dump(-1, ' ', false, json::error_handler_t::replace);
  if (!gateway::http_door::why_not_json(input.type).empty())
    return fail(errc::unsupported, "input '" + input.name + "' is " + std::string(name_of(input.type)) +
                                       ", which travels as a binary tensor only: leave out --json-tensors");
  std::string text;
  gateway::http_door::append_elements(text, input.type, input.data.bytes());
  return text;
}

std::vector<protocol::tensor_spec> read_specs(const json& document, const char* key) {
  std::vector<protocol::tensor_spec> specs;
  for (const auto& each : document.value(key, json::array())) {
    const auto type = parse_dtype(each.at("datatype").get<std::string>());
    if (!type) continue;
    protocol::tensor_spec spec;
    spec.name = each.at("name").get<std::string>();
    spec.type = *type;
    for (const auto& size : each.at("shape")) {
      const auto value = size.get<std::int64_t>();
      spec.dims.push_back(value < 0 ? protocol::dimension{} : protocol::dimension::fixed(value));
    }
    specs.push_back(std::move(spec));
  }
  return specs;
}

/// Of an array, nested or flat.
std::uint64_t elements_in(const json& data) {
  if (!data.is_array()) return 1;
  std::uint64_t count = 0;
  for (const auto& each : data) count += elements_in(each);
  return count;
}

}  // namespace

std::string http_address::authority() const {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port;
}

expected<http_address> read_address(const std::string& text) {
  http_address made;
  const auto slash = std::min(text.find('/'), text.size());
  made.prefix = text.substr(slash);
  while (made.prefix.ends_with('/')) made.prefix.pop_back();
  const auto where = text.substr(0, slash);
  const auto colon = where.rfind(':');
  if (colon != std::string::npos) {
    made.host = where.substr(0, colon);
    made.port = where.substr(colon + 1);
  }
  if (made.host.starts_with('[') && made.host.ends_with(']')) made.host = made.host.substr(1, made.host.size() - 2);
  const bool digits =
      !made.port.empty() && made.port.size() <= 5 && made.port.find_first_not_of("0123456789") == std::string::npos;
  if (made.host.empty() || !digits || made.prefix.find_first_of(" \r\n\t") != std::string::npos)
    return fail(errc::invalid_argument,
                "--at http://" + text + ": write http://HOST:PORT, such as http://127.0.0.1:8000");
  return made;
}

expected<std::string> infer_request(const http_address& to, const call& request, bool json_tensors) {
  std::string head = "{\"inputs\":[";
  std::string binary;
  for (const auto& input : request.inputs) {
    if (&input != &request.inputs.front()) head += ",";
    head += "{\"name\":" + json(input.name).dump() + ",\"datatype\":\"" + std::string(name_of(input.type)) +
            "\",\"shape\":" + json(input.dims).dump();
    if (json_tensors) {
      const auto data = json_data(input);
      if (!data) return tl::unexpected(data.error());
      head += ",\"data\":" + *data + "}";
    } else {
      head += ",\"parameters\":{\"binary_data_size\":" + std::to_string(input.data.size()) + "}}";
      binary.append(reinterpret_cast<const char*>(input.data.data()), input.data.size());
    }
  }
  head += "]";
  auto parameters = json::object();
  if (!json_tensors) parameters["binary_data_output"] = true;
  if (request.deadline.count() > 0) parameters["timeout"] = request.deadline.count();
  if (request.priority != protocol::priority::standard)
    parameters["priority"] = request.priority == protocol::priority::critical ? 1 : 3;
  if (!parameters.empty()) head += ",\"parameters\":" + parameters.dump();
  head += "}";

  std::string text = "POST " + model_path(to, request.model, request.version) + "/infer HTTP/1.1\r\n" + fields_for(to);
  if (json_tensors)
    text += "Content-Type: application/json\r\n";
  else
    text +=
        "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: " + std::to_string(head.size()) +
        "\r\n";
  text += "Content-Length: " + std::to_string(head.size() + binary.size()) + "\r\n\r\n";
  return text + head + binary;
}

std::string metadata_request(const http_address& to, const std::string& model, std::uint64_t version) {
  return "GET " + model_path(to, model, version) + " HTTP/1.1\r\n" + fields_for(to) + "\r\n";
}

expected<model_interface> read_metadata(std::string_view body) {
  try {
    const auto document = json::parse(body);
    return model_interface{read_specs(document, "inputs"), read_specs(document, "outputs")};
  } catch (const json::exception& wrong) {
    return fail(errc::corrupt, std::string("the server's description of the model cannot be read: ") + wrong.what());
  }
}

errc code_of_status(unsigned status) noexcept {
  switch (status) {
    case 429:
    case 503: return errc::overloaded;
    case 408:
    case 504: return errc::deadline_exceeded;
    case 401: return errc::unauthenticated;
    case 403: return errc::permission_denied;
    case 404: return errc::not_found;
    case 413: return errc::too_large;
    case 499: return errc::cancelled;
    case 501: return errc::unsupported;
    default: return status >= 400 && status < 500 ? errc::invalid_argument : errc::internal;
  }
}

std::string reason_of(unsigned status, std::string_view body) {
  auto text = std::string(body.substr(0, 200));
  const auto document = json::parse(body, nullptr, false);
  if (document.is_object() && document.contains("error") && document["error"].is_string())
    text = document["error"].get<std::string>();
  text.resize(std::min(text.find('\n'), text.size()));
  return "status " + std::to_string(status) + (text.empty() ? "" : ": " + text);
}

std::string why_wrong_body(std::string_view body, std::size_t json_length,
                           const std::vector<protocol::tensor_spec>& specs) {
  try {
    if (json_length != std::string_view::npos && json_length > body.size()) return "the answer is cut short";
    const auto document = json::parse(body.substr(0, json_length));
    auto binary = json_length == std::string_view::npos ? std::string_view{} : body.substr(json_length);
    std::vector<output_size> outputs;
    for (const auto& each : document.at("outputs")) {
      const auto type = parse_dtype(each.at("datatype").get<std::string>());
      if (!type) return "an output of the unknown type " + each.at("datatype").dump();
      output_size output{each.at("name").get<std::string>(), *type, each.at("shape").get<shape>(), 0};
      const auto size = each.value("parameters", json::object()).value("binary_data_size", json());
      if (size.is_number_unsigned()) {
        output.bytes = size.get<std::size_t>();
        if (output.bytes > binary.size()) return "the answer is cut short";
        binary.remove_prefix(output.bytes);
      } else {
        output.bytes = elements_in(each.at("data")) * size_of(*type);
      }
      outputs.push_back(std::move(output));
    }
    if (!binary.empty()) return std::to_string(binary.size()) + " bytes after the last output";
    return why_wrong(outputs, specs);
  } catch (const json::exception& wrong) {
    return std::string("the answer cannot be read: ") + wrong.what();
  }
}

}  // namespace shoal::services::bench
