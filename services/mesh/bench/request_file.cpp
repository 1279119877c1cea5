// Requests as JSON lines.
#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

#include "gateway/http_door/json_tensors.hpp"
#include "services/mesh/bench/requests.hpp"
#include "services/mesh/nested.hpp"

namespace shoal::services::bench {

using nlohmann::json;

namespace {

/// Of an input that no interface names: what its elements suggest.
dtype type_of(const json& value) {
  if (value.is_array()) {
    auto widest = dtype::int64;
    for (const auto& each : value)
      if (const auto type = type_of(each); type != dtype::int64) widest = type;
    return widest;
  }
  if (value.is_string()) return dtype::bytes;
  if (value.is_boolean()) return dtype::boolean;
  return value.is_number_float() ? dtype::fp32 : dtype::int64;
}

/// BYTES: each element its length (u32, little-endian) and its bytes. False if nesting or types are not as `dims` say.
bool flatten(const json& value, const shape& dims, std::size_t level, std::string& to) {
  if (level < dims.size()) {
    if (!value.is_array() || value.size() != static_cast<std::size_t>(dims[level])) return false;
    return std::all_of(value.begin(), value.end(),
                       [&](const json& each) { return flatten(each, dims, level + 1, to); });
  }
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  const auto length = static_cast<std::uint32_t>(text.size());
  char bytes[sizeof length];
  std::memcpy(bytes, &length, sizeof length);
  to.append(bytes, sizeof length).append(text);
  return true;
}

expected<tensor> read_tensor(const std::string& name, const json& value, const model_interface& takes,
                             const std::string& where) {
  const auto found =
      std::find_if(takes.inputs.begin(), takes.inputs.end(), [&](const auto& spec) { return spec.name == name; });
  if (found == takes.inputs.end() && !takes.inputs.empty()) {
    std::string known;
    for (const auto& spec : takes.inputs) known += (known.empty() ? "" : ", ") + spec.name;
    return fail(errc::invalid_argument, where + "the model has no input '" + name + "'; its inputs are: " + known);
  }
  tensor input{name, found == takes.inputs.end() ? type_of(value) : found->type, dims_of(value), {}};
  if (input.dims.size() > max_rank)
    return fail(errc::invalid_argument, where + name + ": more than " + std::to_string(max_rank) + " dimensions");
  if (input.type == dtype::bytes) {
    std::string text;
    if (!flatten(value, input.dims, 0, text))
      return fail(errc::invalid_argument, where + name + ": BYTES are strings in arrays of equal length");
    input.data = buffer::copy(std::as_bytes(std::span(text)));
    return input;
  }
  const auto elements = value.is_array() ? value.dump() : "[" + value.dump() + "]";
  auto data = gateway::http_door::elements_of(elements, input.type, input.dims, where + name);
  if (!data) return tl::unexpected(data.error());
  input.data = std::move(*data);
  return input;
}

}  // namespace

expected<std::vector<tensor>> read_request(const std::string& text, const model_interface& takes,
                                           const std::string& where) {
  try {
    const auto line = json::parse(text);
    if (!line.is_object() || line.empty())
      return fail(errc::invalid_argument, where + "a request is an object, such as {\"input\": [[1, 2]]}");
    std::vector<tensor> inputs;
    for (const auto& [name, value] : line.items()) {
      auto input = read_tensor(name, value, takes, where);
      if (!input) return tl::unexpected(input.error());
      inputs.push_back(std::move(*input));
    }
    for (const auto& spec : takes.inputs)
      if (!line.contains(spec.name))
        return fail(errc::invalid_argument, where + "the input '" + spec.name + "' is missing");
    return inputs;
  } catch (const json::parse_error& wrong) {
    return fail(errc::invalid_argument, where + "this is not JSON, from byte " + std::to_string(wrong.byte) + " on");
  } catch (const json::exception& wrong) {
    return fail(errc::invalid_argument, where + wrong.what());
  }
}

}  // namespace shoal::services::bench
