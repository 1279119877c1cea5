#include "gateway/grpc_door/wire_parts.hpp"

#include <optional>
#include <string>

#include "core/tensor.hpp"
#include "gateway/open_inference.hpp"

namespace shoal::gateway::grpc_door {

namespace {

using bytes = std::span<const std::byte>;

enum class wire_type : std::uint8_t { varint = 0, fixed64 = 1, delimited = 2, fixed32 = 5 };

struct field {
  std::uint64_t number = 0;
  wire_type type = wire_type::varint;
  bytes content;        ///< of a delimited one
  std::size_t end = 0;  ///< where the next one begins
};

std::optional<std::uint64_t> read_varint(bytes text, std::size_t& at) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at == text.size()) return std::nullopt;
    const auto byte = std::to_integer<std::uint64_t>(text[at++]);
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

/// The field at `at`; nothing if there is none (groups, which proto3 does not have, included).
std::optional<field> read_field(bytes text, std::size_t at) {
  const auto tag = read_varint(text, at);
  if (!tag || *tag >> 3 == 0) return std::nullopt;
  field found;
  found.number = *tag >> 3;
  found.type = static_cast<wire_type>(*tag & 7);
  std::uint64_t size = 0;
  switch (found.type) {
    case wire_type::varint:
      if (!read_varint(text, at)) return std::nullopt;
      break;
    case wire_type::fixed64: size = 8; break;
    case wire_type::fixed32: size = 4; break;
    case wire_type::delimited: {
      const auto length = read_varint(text, at);
      if (!length) return std::nullopt;
      size = *length;
      break;
    }
    default: return std::nullopt;
  }
  if (size > text.size() - at) return std::nullopt;
  if (found.type == wire_type::delimited) found.content = text.subspan(at, static_cast<std::size_t>(size));
  found.end = at + static_cast<std::size_t>(size);
  return found;
}

template <class OnField>
expected<void> each_field(bytes text, OnField&& on_field) {
  for (std::size_t at = 0; at < text.size();) {
    const auto found = read_field(text, at);
    if (!found) return fail(errc::invalid_argument, "the request is no ModelInferRequest: it cannot be parsed");
    if (auto taken = on_field(*found, at); !taken) return taken;
    at = found->end;
  }
  return {};
}

/// One more of something of which there may be `most`.
expected<void> count(std::size_t& seen, std::size_t most, const char* what) {
  if (seen++ < most) return {};
  return fail(errc::invalid_argument, std::string(what) + ": are more than " + std::to_string(most));
}

expected<void> check_contents(bytes text) {
  return each_field(text, [](const field& found, std::size_t) -> expected<void> {
    if (found.number == 8)
      return fail(errc::invalid_argument,
                  "inputs: BYTES (bytes_contents) is taken by no model here: exported graphs compute on numbers only "
                  "(text: /v1/embeddings)");
    return {};
  });
}

expected<void> check_input(bytes text) {
  std::size_t sizes = 0, parameters = 0;
  return each_field(text, [&](const field& found, std::size_t) -> expected<void> {
    if (found.number == 3 && found.type == wire_type::varint) return count(sizes, max_rank, "inputs: dimensions");
    if (found.number == 3) {
      // Packed: a byte below 0x80 ends each number.
      for (const auto byte : found.content)
        if (byte < std::byte{0x80})
          if (auto counted = count(sizes, max_rank, "inputs: dimensions"); !counted) return counted;
    }
    if (found.number == 4) return count(parameters, most_parameters, "inputs: parameters");
    if (found.number == 5) return check_contents(found.content);
    return {};
  });
}

expected<void> check_output(bytes text) {
  std::size_t parameters = 0;
  return each_field(text, [&](const field& found, std::size_t) -> expected<void> {
    return found.number == 2 ? count(parameters, most_parameters, "outputs: parameters") : expected<void>{};
  });
}

}  // namespace

expected<wire_parts> take_apart(const buffer& message) {
  const auto text = message.bytes();
  wire_parts parts;
  std::size_t inputs = 0, outputs = 0, parameters = 0, raw = 0;
  std::size_t run = 0;  // where the present run of other fields began
  const auto end_run = [&](std::size_t at) {
    if (at != run) parts.fields.push_back(text.subspan(run, at - run));
  };
  auto read = each_field(text, [&](const field& found, std::size_t at) -> expected<void> {
    if (found.type != wire_type::delimited) return {};
    switch (found.number) {
      case 4: return count(parameters, most_parameters, "parameters");
      case 5:
        if (auto counted = count(inputs, most_tensors, "inputs"); !counted) return counted;
        return check_input(found.content);
      case 6:
        if (auto counted = count(outputs, most_tensors, "outputs"); !counted) return counted;
        return check_output(found.content);
      case 7: {
        end_run(at);
        run = found.end;
        parts.raw_inputs.push_back(
            message.slice(static_cast<std::size_t>(found.content.data() - text.data()), found.content.size()));
        return count(raw, most_tensors, "raw_input_contents");
      }
      default: return {};
    }
  });
  if (!read) return tl::unexpected(read.error());
  end_run(text.size());
  return parts;
}

}  // namespace shoal::gateway::grpc_door
