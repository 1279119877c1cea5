#include "worker/ones.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace shoal::worker {

using protocol::model_spec;

std::vector<tensor> ones(const model_spec& spec,
                         const std::function<std::int64_t(const protocol::dimension&)>& size_of_free) {
  std::vector<tensor> inputs;
  for (const auto& input : spec.inputs) {
    tensor filled{input.name, input.type, {}, {}};
    for (const auto& dim : input.dims)
      filled.dims.push_back(dim.is_fixed() ? dim.min : std::clamp(size_of_free(dim), dim.min, dim.max));
    const auto bytes = byte_size(filled.type, filled.dims).value_or(0);
    const auto element = size_of(filled.type);
    std::array<std::byte, 8> one{};
    const double as_double = 1;
    const float as_float = 1;
    const std::uint16_t as_half = filled.type == dtype::bf16 ? 0x3f80 : 0x3c00;
    switch (filled.type) {
      case dtype::fp64: std::memcpy(one.data(), &as_double, sizeof as_double); break;
      case dtype::fp32: std::memcpy(one.data(), &as_float, sizeof as_float); break;
      case dtype::fp16:
      case dtype::bf16: std::memcpy(one.data(), &as_half, sizeof as_half); break;
      default: one[0] = std::byte{1};
    }
    filled.data = buffer::make(bytes, [&](std::byte* to) {
      for (std::size_t at = 0; at + element <= bytes; at += element) std::memcpy(to + at, one.data(), element);
    });
    inputs.push_back(std::move(filled));
  }
  return inputs;
}

}  // namespace shoal::worker
