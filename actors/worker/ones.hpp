// Inputs to try a model with before anybody has sent a request: ones, which are valid as ids, masks and numbers alike.
#pragma once

#include <functional>
#include <vector>

#include "core/tensor.hpp"
#include "protocol/model.hpp"

namespace shoal::worker {

/// One tensor of ones per input. A free dimension has the size that `size_of_free` gives, within its range; fixed ones
/// have theirs.
std::vector<tensor> ones(const protocol::model_spec& spec,
                         const std::function<std::int64_t(const protocol::dimension&)>& size_of_free);

}  // namespace shoal::worker
