#include "gateway/grpc_door/contents.hpp"

#include <array>
#include <limits>

namespace shoal::gateway::grpc_door {

namespace {

/// How many elements each field holds, with the field's name.
struct filled_field {
  std::string_view name;
  int elements;
};

std::array<filled_field, 8> fields_of(const inference::InferTensorContents& contents) {
  return {{{"bool_contents", contents.bool_contents_size()},
           {"int_contents", contents.int_contents_size()},
           {"int64_contents", contents.int64_contents_size()},
           {"uint_contents", contents.uint_contents_size()},
           {"uint64_contents", contents.uint64_contents_size()},
           {"fp32_contents", contents.fp32_contents_size()},
           {"fp64_contents", contents.fp64_contents_size()},
           {"bytes_contents", contents.bytes_contents_size()}}};
}

/// The field where elements of `type` belong; empty: they travel raw only.
std::string_view field_of(dtype type) {
  switch (type) {
    case dtype::boolean: return "bool_contents";
    case dtype::int8:
    case dtype::int16:
    case dtype::int32: return "int_contents";
    case dtype::int64: return "int64_contents";
    case dtype::uint8:
    case dtype::uint16:
    case dtype::uint32: return "uint_contents";
    case dtype::uint64: return "uint64_contents";
    case dtype::fp32: return "fp32_contents";
    case dtype::fp64: return "fp64_contents";
    case dtype::fp16:
    case dtype::bf16:
    case dtype::bytes: break;
  }
  return {};
}

/// Elements as they lie in the message: those of the type itself.
template <class T>
expected<buffer> whole(const google::protobuf::RepeatedField<T>& from) {
  return buffer::copy(std::as_bytes(std::span(from.data(), static_cast<std::size_t>(from.size()))));
}

/// Elements that the message holds in a wider type.
template <class Narrow, class Wide>
expected<buffer> narrowed(const google::protobuf::RepeatedField<Wide>& from, dtype type, std::string_view where) {
  for (int i = 0; i < from.size(); ++i)
    if (from[i] < std::numeric_limits<Narrow>::min() || from[i] > std::numeric_limits<Narrow>::max())
      return fail(errc::invalid_argument, std::string(where) + ".contents: element " + std::to_string(i) + " is " +
                                              std::to_string(from[i]) + ", which is no value of " +
                                              std::string(name_of(type)));
  return buffer::make(static_cast<std::size_t>(from.size()) * sizeof(Narrow), [&](std::byte* to) {
    for (const auto element : from) {
      const auto value = static_cast<Narrow>(element);
      std::memcpy(to, &value, sizeof value);
      to += sizeof value;
    }
  });
}

}  // namespace

expected<buffer> elements_of(const inference::InferTensorContents& contents, dtype type, const shape& dims,
                             std::string_view where) {
  const auto field = field_of(type);
  if (field.empty())
    return fail(errc::invalid_argument, std::string(where) + ".contents: " + std::string(name_of(type)) +
                                            " travels in raw_input_contents only");
  const auto count = element_count(dims);
  if (!count) return fail(errc::invalid_argument, std::string(where) + ".shape: " + count.error().message);
  for (const auto& [name, elements] : fields_of(contents)) {
    const auto wanted = name == field ? *count : 0;
    if (static_cast<std::uint64_t>(elements) == wanted) continue;
    if (name != field)
      return fail(errc::invalid_argument, std::string(where) + ".contents: " + std::string(name) +
                                              " is filled, but elements of " + std::string(name_of(type)) +
                                              " belong in " + std::string(field));
    return fail(errc::invalid_argument, std::string(where) + ".contents." + std::string(field) + ": has " +
                                            std::to_string(elements) + " elements, but the shape " + to_string(dims) +
                                            " needs exactly " + std::to_string(*count));
  }
  switch (type) {
    case dtype::boolean: return whole(contents.bool_contents());
    case dtype::int8: return narrowed<std::int8_t>(contents.int_contents(), type, where);
    case dtype::int16: return narrowed<std::int16_t>(contents.int_contents(), type, where);
    case dtype::int32: return whole(contents.int_contents());
    case dtype::int64: return whole(contents.int64_contents());
    case dtype::uint8: return narrowed<std::uint8_t>(contents.uint_contents(), type, where);
    case dtype::uint16: return narrowed<std::uint16_t>(contents.uint_contents(), type, where);
    case dtype::uint32: return whole(contents.uint_contents());
    case dtype::uint64: return whole(contents.uint64_contents());
    case dtype::fp32: return whole(contents.fp32_contents());
    case dtype::fp64: return whole(contents.fp64_contents());
    case dtype::fp16:
    case dtype::bf16:
    case dtype::bytes: break;  // without a field
  }
  return fail(errc::internal, "a type without contents has a field");
}

}  // namespace shoal::gateway::grpc_door
