// Which requests may share one execution. The scheduler asks when it forms a batch, the worker when it gathers one; the
// rule stands only here (design §2.3): requests are joined along the batch symbol, which must be the first dimension of
// every input; all other dimensions must be equal, but for those of the pad symbol, which the model declares how to
// fill.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.hpp"
#include "protocol/model.hpp"

namespace shoal::protocol {

struct join_profile {
  bool joinable = false;           ///< the model has a batch symbol
  std::int64_t rows = 1;           ///< size of the batch symbol
  std::int64_t length = 0;         ///< size of the pad symbol; 0 where there is none
  std::vector<std::int64_t> rest;  ///< every other size, in order
};

/// `inputs` are in the order of spec.inputs and have passed the gateway's checks.
join_profile profile_of(const model_spec& spec, const std::vector<tensor>& inputs);

/// Whether requests with these profiles may share an execution, sizes of the batch apart.
inline bool may_join(const join_profile& a, const join_profile& b) {
  return a.joinable && b.joinable && a.rest == b.rest;
}

/// Rows that one execution may have: max_batch, or less where the archive's range says so.
std::int64_t row_limit(const model_spec& spec);

}  // namespace shoal::protocol
