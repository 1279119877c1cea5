#include "gateway/text/text_request.hpp"

#include <algorithm>
#include <cstring>

namespace shoal::gateway {

namespace {

tl::unexpected<error> wrong(std::string_view input, const std::string& what) {
  return fail(errc::invalid_argument, "input '" + std::string(input) + "' " + what);
}

expected<std::vector<std::string_view>> elements_of(const tensor& list) {
  const bool is_native = list.type == dtype::uint8 && list.dims.size() == 1;
  const bool is_list = list.dims.size() == 1 || (list.dims.size() == 2 && list.dims[1] == 1);
  if (!is_native && (list.type != dtype::bytes || !is_list))
    return wrong(list.name, "must be BYTES of shape [n] or [n, 1], an element for each text");
  std::vector<std::string_view> elements;
  const auto bytes = list.data.bytes();
  for (std::size_t at = 0; at < bytes.size();) {
    const auto number = std::to_string(elements.size());
    if (elements.size() == most_texts)
      return wrong(list.name, "has more elements than the " + std::to_string(most_texts) +
                                  " that may be in one request: send several");
    std::uint32_t length = 0;
    if (bytes.size() - at < sizeof length)
      return wrong(list.name, "ends within its element " + number + ": each is a u32 length and its bytes");
    std::memcpy(&length, bytes.data() + at, sizeof length);
    at += sizeof length;
    if (bytes.size() - at < length)
      return wrong(list.name, "has an element " + number + " that claims more bytes than there are");
    elements.emplace_back(reinterpret_cast<const char*>(bytes.data() + at), length);
    at += length;
  }
  if (!is_native && static_cast<std::int64_t>(elements.size()) != list.dims[0])
    return wrong(list.name, "has " + std::to_string(elements.size()) + " elements, and its shape says " +
                                std::to_string(list.dims[0]));
  if (elements.empty()) return wrong(list.name, "is empty: give at least one text");
  return elements;
}

}  // namespace

bool carries_text(const protocol::infer& request, const protocol::model_spec& spec) {
  return std::any_of(request.inputs.begin(), request.inputs.end(), [&](const tensor& input) {
    const bool is_text = (input.type == dtype::bytes || input.type == dtype::uint8) &&
                         (input.name == text_input || input.name == token_ids_input);
    return is_text && std::none_of(spec.inputs.begin(), spec.inputs.end(),
                                   [&](const auto& each) { return each.name == input.name; });
  });
}

expected<text_list> read_text(const protocol::infer& request) {
  text_list list;
  bool has_list = false;
  for (const auto& input : request.inputs) {
    if (input.name == text_input || input.name == token_ids_input) {
      if (has_list) return wrong(input.name, "comes beside another list: give text or token_ids, once");
      has_list = true;
      list.are_ids = input.name == token_ids_input;
      auto elements = elements_of(input);
      if (!elements) return tl::unexpected(elements.error());
      list.elements = *std::move(elements);
    } else if (input.name == truncate_input) {
      const bool is_flag = input.type == dtype::boolean && input.data.size() == 1;
      if (!is_flag) return wrong(input.name, "must be one BOOL");
      list.truncates = input.data.data()[0] != std::byte{0};
    } else {
      return wrong(input.name.substr(0, 80), "does not go with text: give text (or token_ids) and truncate alone");
    }
  }
  if (!has_list) return fail(errc::invalid_argument, "there is neither an input 'text' nor 'token_ids'");
  return list;
}

tensor bytes_tensor(std::string_view name, const std::vector<std::string_view>& elements, bool native) {
  std::size_t bytes = 0;
  for (const auto each : elements) bytes += sizeof(std::uint32_t) + each.size();
  tensor made{std::string(name),
              native ? dtype::uint8 : dtype::bytes,
              {static_cast<std::int64_t>(native ? bytes : elements.size())},
              {}};
  made.data = buffer::make(bytes, [&](std::byte* to) {
    for (const auto each : elements) {
      const auto length = static_cast<std::uint32_t>(each.size());
      std::memcpy(to, &length, sizeof length);
      to += sizeof length;
      if (!each.empty()) std::memcpy(to, each.data(), each.size());
      to += each.size();
    }
  });
  return made;
}

}  // namespace shoal::gateway
