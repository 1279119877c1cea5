// Inputs to plan with before there is traffic: random ones that a model takes, the same for the same seed. Integers
// that are looked up in a table are rows of it, other integers and booleans are 1 (a mask that hides nothing), real
// numbers are normal. Sizes stay within the archive's ranges.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.hpp"
#include "executor/graph.hpp"
#include "protocol/model.hpp"

namespace shoal::precision {

/// Sizes of one execution: rows along the batch symbol, and of every other free dimension.
struct execution_size {
  std::int64_t batch = 1;
  std::int64_t length = 1;
  bool operator==(const execution_size&) const = default;
};

/// Shapes of the inputs at that size, or the nearest that the archive's ranges allow.
std::vector<shape> shapes_of(const protocol::model_spec& spec, execution_size size);

/// A small and a larger size; one, if the model's ranges leave no more.
std::vector<execution_size> typical_sizes(const protocol::model_spec& spec);

std::vector<tensor> seeded_inputs(const executor::graph& of, const protocol::model_spec& spec, execution_size size,
                                  std::uint64_t seed);

}  // namespace shoal::precision
