#include "worker/gather.hpp"

#include <algorithm>
#include <cstring>

#include "protocol/join.hpp"

namespace shoal::worker {

using protocol::model_spec;
using protocol::tensor_spec;

namespace {

std::size_t bytes_of(const shape& dims, std::size_t element, std::size_t from = 0) {
  auto bytes = element;
  for (std::size_t d = from; d < dims.size(); ++d) bytes *= static_cast<std::size_t>(dims[d]);
  return bytes;
}

/// Copies the region that two row-major blocks of equal rank have in common, from their origins.
void copy_common(const std::byte* from, const shape& from_dims, std::byte* to, const shape& to_dims,
                 std::size_t element, std::size_t d = 0) {
  if (std::equal(from_dims.begin() + static_cast<std::ptrdiff_t>(d), from_dims.end(),
                 to_dims.begin() + static_cast<std::ptrdiff_t>(d))) {
    const auto bytes = bytes_of(from_dims, element, d);
    if (bytes != 0) std::memcpy(to, from, bytes);
    return;
  }
  const auto common = static_cast<std::size_t>(std::min(from_dims[d], to_dims[d]));
  if (d + 1 == from_dims.size()) {
    if (common != 0) std::memcpy(to, from, common * element);
    return;
  }
  const auto from_step = bytes_of(from_dims, element, d + 1);
  const auto to_step = bytes_of(to_dims, element, d + 1);
  for (std::size_t i = 0; i < common; ++i)
    copy_common(from + i * from_step, from_dims, to + i * to_step, to_dims, element, d + 1);
}

template <class T>
void fill_as(std::byte* to, std::size_t bytes, double value) {
  const auto typed = static_cast<T>(value);
  for (std::size_t i = 0; i + sizeof(T) <= bytes; i += sizeof(T)) std::memcpy(to + i, &typed, sizeof(T));
}

/// Half-precision pads are rounded from fp32: exact for the values that models use (0, 1, -1, small integers).
std::uint16_t as_bf16(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>(bits >> 16);
}

void fill(std::byte* to, std::size_t bytes, dtype type, double value) {
  if (value == 0) return static_cast<void>(std::fill_n(to, bytes, std::byte{0}));
  switch (type) {
    case dtype::boolean: return fill_as<std::uint8_t>(to, bytes, 1);
    case dtype::uint8: return fill_as<std::uint8_t>(to, bytes, value);
    case dtype::uint16: return fill_as<std::uint16_t>(to, bytes, value);
    case dtype::uint32: return fill_as<std::uint32_t>(to, bytes, value);
    case dtype::uint64: return fill_as<std::uint64_t>(to, bytes, value);
    case dtype::int8: return fill_as<std::int8_t>(to, bytes, value);
    case dtype::int16: return fill_as<std::int16_t>(to, bytes, value);
    case dtype::int32: return fill_as<std::int32_t>(to, bytes, value);
    case dtype::int64: return fill_as<std::int64_t>(to, bytes, value);
    case dtype::fp32: return fill_as<float>(to, bytes, value);
    case dtype::fp64: return fill_as<double>(to, bytes, value);
    case dtype::bf16: return fill_as<std::uint16_t>(to, bytes, as_bf16(static_cast<float>(value)));
    case dtype::fp16: {
      const auto half = static_cast<_Float16>(value);
      std::uint16_t bits = 0;
      std::memcpy(&bits, &half, sizeof bits);
      return fill_as<std::uint16_t>(to, bytes, bits);
    }
    case dtype::bytes: return;  // refused at the doors
  }
}

/// The sizes of input `index` in the joined execution.
shape joined_dims(const model_spec& spec, std::size_t index, const shape& first, std::int64_t rows,
                  std::int64_t length) {
  auto dims = first;
  const auto& spec_dims = spec.inputs[index].dims;
  for (std::size_t d = 0; d < dims.size(); ++d) {
    if (spec_dims[d].symbol == spec.batch_symbol) dims[d] = rows;
    if (!spec.pad_symbol.empty() && spec_dims[d].symbol == spec.pad_symbol) dims[d] = length;
  }
  return dims;
}

}  // namespace

std::vector<tensor> gather(const model_spec& spec, const std::vector<const std::vector<tensor>*>& members) {
  if (members.size() == 1) return *members.front();
  std::int64_t rows = 0;
  std::int64_t length = 0;
  for (const auto* member : members) {
    const auto profile = protocol::profile_of(spec, *member);
    rows += profile.rows;
    length = std::max(length, profile.length);
  }
  std::vector<tensor> joined;
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const auto& first = (*members.front())[i];
    tensor input{first.name, first.type, joined_dims(spec, i, first.dims, rows, length), {}};
    const auto element = size_of(input.type);
    const auto row_bytes = bytes_of(input.dims, element, 1);
    input.data = buffer::make(bytes_of(input.dims, element), [&](std::byte* to) {
      for (const auto* member : members) {
        const auto& part = (*member)[i];
        auto block = input.dims;
        block[0] = part.dims[0];
        if (part.dims != block) fill(to, bytes_of(block, element), input.type, spec.inputs[i].pad_value);
        copy_common(part.data.data(), part.dims, to, block, element);
        to += static_cast<std::size_t>(part.dims[0]) * row_bytes;
      }
    });
    joined.push_back(std::move(input));
  }
  return joined;
}

expected<std::vector<std::vector<tensor>>> scatter(const model_spec& spec,
                                                   const std::vector<const std::vector<tensor>*>& members,
                                                   std::vector<tensor> outputs) {
  std::vector<std::vector<tensor>> parts(members.size());
  if (members.size() == 1) {
    parts.front() = std::move(outputs);
    return parts;
  }
  std::vector<protocol::join_profile> profiles;
  std::int64_t rows = 0;
  for (const auto* member : members) {
    profiles.push_back(protocol::profile_of(spec, *member));
    rows += profiles.back().rows;
  }
  for (std::size_t o = 0; o < outputs.size(); ++o) {
    const auto& output = outputs[o];
    if (output.dims.empty() || output.dims[0] != rows || o >= spec.outputs.size())
      return fail(errc::internal, "output '" + output.name + "' has shape " + to_string(output.dims) + " after " +
                                      std::to_string(rows) + " rows went in");
    const auto element = size_of(output.type);
    const auto row_bytes = bytes_of(output.dims, element, 1);
    std::size_t offset = 0;
    for (std::size_t m = 0; m < members.size(); ++m) {
      tensor part{output.name, output.type, output.dims, {}};
      part.dims[0] = profiles[m].rows;
      const auto whole = part.dims;
      for (std::size_t d = 0; d < part.dims.size(); ++d)
        if (!spec.pad_symbol.empty() && spec.outputs[o].dims[d].symbol == spec.pad_symbol)
          part.dims[d] = profiles[m].length;
      const auto size = static_cast<std::size_t>(whole[0]) * row_bytes;
      const auto block = output.data.slice(offset, size);
      part.data = part.dims == whole ? block : buffer::make(bytes_of(part.dims, element), [&](std::byte* to) {
        copy_common(block.data(), whole, to, part.dims, element);
      });
      offset += size;
      parts[m].push_back(std::move(part));
    }
  }
  return parts;
}

}  // namespace shoal::worker
