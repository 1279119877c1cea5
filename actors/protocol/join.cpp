#include "protocol/join.hpp"

#include <algorithm>

namespace shoal::protocol {

join_profile profile_of(const model_spec& spec, const std::vector<tensor>& inputs) {
  join_profile profile;
  if (spec.batch_symbol.empty() || inputs.size() != spec.inputs.size()) return profile;
  profile.joinable = true;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto& dims = spec.inputs[i].dims;
    for (std::size_t d = 0; d < dims.size() && d < inputs[i].dims.size(); ++d) {
      const auto size = inputs[i].dims[d];
      if (dims[d].symbol == spec.batch_symbol)
        profile.rows = size;
      else if (!spec.pad_symbol.empty() && dims[d].symbol == spec.pad_symbol)
        profile.length = size;
      else
        profile.rest.push_back(size);
    }
  }
  return profile;
}

std::int64_t row_limit(const model_spec& spec) {
  std::int64_t limit = std::max<std::int64_t>(1, spec.max_batch);
  for (const auto& input : spec.inputs)
    for (const auto& dim : input.dims)
      if (!spec.batch_symbol.empty() && dim.symbol == spec.batch_symbol) limit = std::min(limit, dim.max);
  return limit;
}

}  // namespace shoal::protocol
