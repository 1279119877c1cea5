#include "services/mesh/bench/requests.hpp"

#include <fstream>

#include <nlohmann/json.hpp>

#include "gateway/http_door/json_tensors.hpp"
#include "services/mesh/nested.hpp"
#include "worker/ones.hpp"

namespace shoal::services::bench {

using nlohmann::json;

namespace {

expected<protocol::infer> request_of(const std::string& line, const protocol::model_spec& spec,
                                     const std::string& where) {
  const auto wrong = [&](const std::string& why) { return fail(errc::invalid_argument, where + ": " + why); };
  const auto object = json::parse(line, nullptr, false);
  if (!object.is_object()) return wrong("this is not a JSON object of inputs");
  protocol::infer request;
  request.model = spec.name;
  request.version = spec.version;
  for (const auto& input : spec.inputs) {
    const auto found = object.find(input.name);
    if (found == object.end() || !found->is_array()) return wrong("the array '" + input.name + "' is missing");
    tensor made{input.name, input.type, dims_of(*found), {}};
    auto data = gateway::http_door::elements_of(found->dump(), made.type, made.dims, where + ": " + input.name);
    if (!data) return tl::unexpected(data.error());
    made.data = std::move(*data);
    request.inputs.push_back(std::move(made));
  }
  if (object.size() != spec.inputs.size()) return wrong("the model has fewer inputs than there are here");
  return request;
}

}  // namespace

expected<std::vector<protocol::infer>> read_requests(const std::string& path, const protocol::model_spec& spec) {
  std::ifstream file(path);
  if (!file) return fail(errc::not_found, "--requests: cannot read " + path);
  std::vector<protocol::infer> requests;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    auto request = request_of(line, spec, path + ":" + std::to_string(number));
    if (!request) return tl::unexpected(request.error());
    requests.push_back(std::move(*request));
  }
  if (requests.empty()) return fail(errc::invalid_argument, "--requests: there is no request in " + path);
  return requests;
}

protocol::infer request_of_ones(const protocol::model_spec& spec, std::int64_t length) {
  protocol::infer request;
  request.model = spec.name;
  request.version = spec.version;
  for (const auto& input : spec.inputs) {
    protocol::model_spec alone;
    alone.inputs = {input};
    bool first = true;
    auto made =
        worker::ones(alone, [&](const protocol::dimension&) { return std::exchange(first, false) ? 1 : length; });
    request.inputs.push_back(std::move(made.front()));
  }
  return request;
}

}  // namespace shoal::services::bench
