#include "gateway/http_door/binary_tensors.hpp"

#include <charconv>

namespace shoal::gateway::http_door {

namespace {

std::string_view as_text(const buffer& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

tl::unexpected<error> invalid(std::string message) { return fail(errc::invalid_argument, std::move(message)); }

}  // namespace

expected<body_parts> split_body(const http::request& asked) {
  const auto& body = asked.body;
  if (!asked.has_field(json_length_field)) return body_parts{as_text(body), {}, false};
  auto value = asked.field(json_length_field);
  std::uint64_t length = 0;
  auto parsed = std::from_chars(value.data(), value.data() + value.size(), length);
  if (value.empty() || parsed.ec != std::errc{} || parsed.ptr != value.data() + value.size())
    return invalid(std::string(json_length_field) + ": must be a number of bytes");
  if (length > body.size())
    return invalid(std::string(json_length_field) + ": says " + std::to_string(length) + " bytes, but the body has " +
                   std::to_string(body.size()));
  auto json = static_cast<std::size_t>(length);
  return body_parts{as_text(body).substr(0, json), body.slice(json, body.size() - json), json == 0};
}

expected<buffer> binary_inputs::next(std::int64_t claimed, dtype type, const shape& dims, std::string_view where) {
  auto left = bytes_.size() - at_;
  if (claimed < 0 || static_cast<std::uint64_t>(claimed) > left)
    return invalid(std::string(where) + ": " + std::to_string(claimed) + " bytes are claimed, but " +
                   std::to_string(left) + " are left in the body");
  auto needed = byte_size(type, dims);
  if (!needed) return invalid(std::string(where) + ": " + needed.error().message);
  auto size = static_cast<std::size_t>(claimed);
  if (*needed != size)
    return invalid(std::string(where) + ": " + std::to_string(size) + " bytes are claimed, but " +
                   std::string(name_of(type)) + " of shape " + to_string(dims) + " has " + std::to_string(*needed));
  auto bytes = bytes_.slice(at_, size);
  at_ += size;
  return bytes;
}

expected<void> binary_inputs::end() const {
  if (at_ == bytes_.size()) return {};
  return invalid("the body has " + std::to_string(bytes_.size()) + " bytes of binary data, but the inputs claim " +
                 std::to_string(at_) + " (parameters.binary_data_size)");
}

expected<tensor> raw_input(const protocol::model_spec& spec, const buffer& bytes) {
  const std::string title = "a body without JSON (" + std::string(json_length_field) + ": 0)";
  if (spec.inputs.size() != 1)
    return invalid(title + " is for models with one input; '" + spec.name + "' has " +
                   std::to_string(spec.inputs.size()));
  const auto& input = spec.inputs.front();
  tensor raw{input.name, input.type, {}, bytes};
  std::vector<std::size_t> free;
  for (const auto& dim : input.dims) {
    if (!dim.is_fixed()) free.push_back(raw.dims.size());
    raw.dims.push_back(dim.is_fixed() ? dim.min : 1);
  }
  if (free.size() == 2 && free.front() == 0 && !spec.batch_symbol.empty()) free.erase(free.begin());
  if (free.size() > 1)
    return invalid(title + " cannot tell the shape of input '" + input.name + "': several of its sizes are free");
  auto unit = byte_size(raw.type, raw.dims);
  if (!unit) return tl::unexpected(unit.error());
  if (!free.empty() && *unit != 0) {
    raw.dims[free.front()] = static_cast<std::int64_t>(bytes.size() / *unit);
    unit = byte_size(raw.type, raw.dims);
    if (!unit) return tl::unexpected(unit.error());
  }
  if (*unit != bytes.size())
    return invalid(title + " has " + std::to_string(bytes.size()) + " bytes, which fill no shape of input '" +
                   input.name + "'");
  return raw;
}

}  // namespace shoal::gateway::http_door
