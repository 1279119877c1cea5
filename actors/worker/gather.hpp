// Joining requests into one execution and parting its results again, on bytes alone.
// Members are laid one after another along the batch symbol; along the pad symbol shorter ones are filled with the
// input's pad value, and the results' padding is cut off again (design §2.3).
#pragma once

#include <vector>

#include "core/tensor.hpp"
#include "protocol/model.hpp"

namespace shoal::worker {

/// Inputs of `members` (each in the order of spec.inputs, checked at the gateway) as the inputs of one execution.
/// One member is passed on without a copy. More need spec.batch_symbol.
std::vector<tensor> gather(const protocol::model_spec& spec, const std::vector<const std::vector<tensor>*>& members);

/// The part of `outputs` (in the order of spec.outputs) that belongs to each member: a view where only rows are cut, a
/// copy where padding is. Error: internal, if an output does not have the rows that went in.
expected<std::vector<std::vector<tensor>>> scatter(const protocol::model_spec& spec,
                                                   const std::vector<const std::vector<tensor>*>& members,
                                                   std::vector<tensor> outputs);

}  // namespace shoal::worker
