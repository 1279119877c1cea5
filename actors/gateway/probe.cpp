#include "gateway/probe.hpp"

#include <algorithm>

namespace shoal::gateway {

protocol::infer probe_of(const protocol::model_spec& spec) {
  protocol::infer request;
  request.model = spec.name;
  request.version = spec.version;
  request.is_probe = true;
  for (const auto& input : spec.inputs) {
    tensor zeros;
    zeros.name = input.name;
    zeros.type = input.type;
    for (const auto& dim : input.dims)
      zeros.dims.push_back(dim.is_fixed() ? dim.min : std::max<std::int64_t>(dim.min, 1));
    const auto bytes = byte_size(zeros.type, zeros.dims).value_or(0);
    zeros.data = buffer::make(bytes, [&](std::byte* to) { std::fill_n(to, bytes, std::byte{0}); });
    request.inputs.push_back(std::move(zeros));
  }
  return request;
}

}  // namespace shoal::gateway
