#include "gateway/open_inference.hpp"

#include <algorithm>
#include <charconv>

#include "core/name.hpp"

namespace shoal::gateway {

namespace {

expected<protocol::manage> manage_request(protocol::life_verb verb, std::string_view name, std::uint64_t version) {
  if (auto good = check_name("a model's", name); !good) return tl::unexpected(good.error());
  protocol::manage request;
  request.verb = verb;
  request.model = name;
  request.version = version;
  return request;
}

}  // namespace

expected<std::uint64_t> read_version(std::string_view text) {
  std::uint64_t version = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), version);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || version == 0)
    return fail(errc::invalid_argument, "a model's version is a positive whole number");
  return version;
}

expected<protocol::microseconds> read_timeout(std::int64_t microseconds) {
  if (microseconds < 0)
    return fail(errc::invalid_argument, "timeout: must be a whole number of microseconds, not negative");
  return protocol::microseconds(microseconds);
}

expected<protocol::priority> read_priority(std::int64_t number) {
  if (number < 0) return fail(errc::invalid_argument, "priority: must not be negative; 1 is the highest");
  if (number == 1) return protocol::priority::critical;
  return number <= 2 ? protocol::priority::standard : protocol::priority::batch;
}

expected<protocol::priority> read_priority(std::string_view name) {
  if (name == "critical") return protocol::priority::critical;
  if (name == "standard") return protocol::priority::standard;
  if (name == "batch") return protocol::priority::batch;
  return fail(errc::invalid_argument,
              "priority: '" + std::string(name.substr(0, 40)) + "' is none of critical, standard and batch");
}

expected<dtype> read_type(std::string_view name) {
  const auto type = parse_dtype(name);
  if (!type)
    return fail(errc::invalid_argument, "there is no type '" + std::string(name.substr(0, 40)) +
                                            "'; types are BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, FP32 and "
                                            "FP64");
  if (*type == dtype::bytes)
    return fail(errc::invalid_argument,
                "BYTES is taken by no model here: exported graphs compute on numbers only (text: /v1/embeddings)");
  return *type;
}

protocol::trace_context trace_of(std::string_view traceparent) noexcept {
  // 00-<32 hex digits of the trace>-<16 of the parent span>-<2 of flags>
  if (traceparent.size() != 55 || !traceparent.starts_with("00-") || traceparent[35] != '-' || traceparent[52] != '-')
    return {};
  auto hex = [&](std::size_t from, std::uint64_t& value) {
    const auto* end = traceparent.data() + from + 16;
    auto parsed = std::from_chars(traceparent.data() + from, end, value, 16);
    return parsed.ec == std::errc{} && parsed.ptr == end;
  };
  protocol::trace_context trace;
  if (!hex(3, trace.trace_high) || !hex(19, trace.trace_low) || !hex(36, trace.span)) return {};
  return trace;
}

expected<void> check_parameter(std::string_view name) {
  if (name.starts_with("shared_memory"))
    return fail(errc::invalid_argument, "shared memory is not offered; send the data itself");
  if (name == "classification")
    return fail(errc::invalid_argument, "classification is not offered; ask for the output itself");
  return {};
}

std::vector<protocol::model_statistics> select(const std::vector<protocol::model_statistics>& counted,
                                               const protocol::catalogue& models, const model_reference& wanted) {
  std::vector<protocol::model_statistics> chosen;
  for (const auto& spec : models.models) {
    if (!wanted.name.empty() && (spec.name != wanted.name || (wanted.version != 0 && spec.version != wanted.version)))
      continue;
    const auto found = std::find_if(counted.begin(), counted.end(), [&](const protocol::model_statistics& known) {
      return known.model == spec.name && known.version == spec.version;
    });
    auto& each = chosen.emplace_back();
    if (found != counted.end()) each = *found;
    each.model = spec.name;
    each.version = spec.version;
  }
  return chosen;
}

std::vector<std::string> ready_versions(const protocol::catalogue& models, std::string_view name) {
  std::vector<std::string> versions;
  for (const auto& model : models.models)
    if (model.name == name && model.state == protocol::model_state::ready)
      versions.push_back(std::to_string(model.version));
  return versions;
}

std::string_view name_of_state(protocol::model_state state) {
  switch (state) {
    case protocol::model_state::ready: return "READY";
    case protocol::model_state::loading: return "LOADING";
    case protocol::model_state::failed: return "UNAVAILABLE";
  }
  return "UNKNOWN";
}

expected<protocol::manage> load_request(std::string_view name, std::uint64_t version) {
  auto request = manage_request(protocol::life_verb::load, name, version);
  if (request) request->replace = version == 0;
  return request;
}

expected<protocol::manage> unload_request(std::string_view name, std::uint64_t version) {
  return manage_request(protocol::life_verb::unload, name, version);
}

expected<void> check_load_parameter(std::string_view name) {
  // unload_dependents has a meaning where models call models; here no model depends on another.
  if (name == "unload_dependents") return {};
  return fail(errc::invalid_argument,
              "a load takes no parameters such as '" + std::string(name.substr(0, 40)) +
                  "': models come from the model directory, by `shoal import`, and nowhere else");
}

expected<void> verdict(const expected<std::vector<protocol::worker_answer>>& answers) {
  if (!answers) return tl::unexpected(answers.error());
  const protocol::worker_answer* refused = nullptr;
  for (const auto& each : *answers) {
    if (each.result) return {};
    if (refused == nullptr) refused = &each;
  }
  if (refused == nullptr) return fail(errc::unavailable, "no worker is there to do it");
  return tl::unexpected(refused->result.error());
}

}  // namespace shoal::gateway
