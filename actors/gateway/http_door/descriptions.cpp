#include "gateway/http_door/descriptions.hpp"

#include <cmath>

#include <nlohmann/json.hpp>

#include "gateway/http_door/json_reader.hpp"
#include "gateway/open_inference.hpp"

namespace shoal::gateway::http_door {

using nlohmann::json;
using protocol::model_state;

namespace {

std::string text_of(const json& document) { return document.dump(-1, ' ', false, json::error_handler_t::replace); }

/// "TYPE_FP32": how the model configuration writes a type.
std::string configured_type(dtype type) { return "TYPE_" + std::string(name_of(type)); }

/// Without the batch dimension, as the configuration of a batching model wants it.
json configure_tensors(const std::vector<protocol::tensor_spec>& specs, bool batches) {
  auto list = json::array();
  for (const auto& spec : specs) {
    auto sizes = json::array();
    for (std::size_t d = batches ? 1 : 0; d < spec.dims.size(); ++d)
      sizes.push_back(spec.dims[d].is_fixed() ? spec.dims[d].min : -1);
    list.push_back({{"name", spec.name}, {"data_type", configured_type(spec.type)}, {"dims", std::move(sizes)}});
  }
  return list;
}

json describe_duration(const protocol::duration_sum& sum) { return {{"count", sum.count}, {"ns", sum.total.count()}}; }

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
  return text_of({{"name", "shoal"}, {"version", SHOAL_VERSION}, {"extensions", server_extensions}});
}

std::string describe_model(const protocol::model_spec& spec, const protocol::catalogue& models) {
  return text_of({{"name", spec.name},
                  {"versions", ready_versions(models, spec.name)},
                  {"platform", platform},
                  {"inputs", describe_tensors(spec.inputs)},
                  {"outputs", describe_tensors(spec.outputs)}});
}

std::string describe_config(const protocol::model_spec& spec) {
  const bool batches = !spec.batch_symbol.empty();
  return text_of({{"name", spec.name},
                  {"platform", platform},
                  {"backend", platform},
                  {"version_policy", {{"specific", {{"versions", {spec.version}}}}}},
                  {"max_batch_size", batches ? spec.max_batch : 0},
                  {"input", configure_tensors(spec.inputs, batches)},
                  {"output", configure_tensors(spec.outputs, batches)}});
}

std::string describe_statistics(const std::vector<protocol::model_statistics>& counted,
                                const protocol::catalogue& models, const model_reference& wanted) {
  auto list = json::array();
  for (const auto& each : select(counted, models, wanted))
    list.push_back({{"name", each.model},
                    {"version", std::to_string(each.version)},
                    {"last_inference", each.last_inference.count()},
                    {"inference_count", each.rows},
                    {"execution_count", std::llround(each.executions)},
                    {"inference_stats",
                     {{"success", describe_duration(each.success)},
                      {"fail", describe_duration(each.fail)},
                      {"queue", describe_duration(each.queue)},
                      {"compute_input", describe_duration(each.compute_input)},
                      {"compute_infer", describe_duration(each.compute_infer)},
                      {"compute_output", describe_duration(each.compute_output)}}},
                    {"batch_stats", json::array()}});
  return text_of({{"model_stats", std::move(list)}});
}

expected<void> check_life_body(std::string_view body) {
  if (body.empty()) return {};
  json_reader reader(body);
  const auto parameters = [&] {
    reader.object([&](std::string_view name) {
      if (auto allowed = check_load_parameter(name); !allowed) return reader.fail(allowed.error().message);
      reader.skip();
    });
  };
  reader.object([&](std::string_view name) {
    if (name == "parameters")
      parameters();
    else
      reader.skip();
  });
  reader.end();
  if (reader.failed()) return tl::unexpected(reader.failure());
  return {};
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
