// Weights as tensors over the mapped archive, or over the host's shared objects where those are there; in place: a
// tensor keeps the mapping alive. Only what is misaligned for its element type is copied (PyTorch writes every record
// at 64 bytes). Includes LibTorch.
#pragma once

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/error.hpp"
#include "executor/archive.hpp"
#include "executor/cached_records.hpp"
#include "executor/graph.hpp"

namespace shoal::executor {

struct weights {
  std::vector<at::Tensor> tensors;  ///< in the order of graph::stored
  std::uint64_t bytes = 0;          ///< of distinct records
};

/// A record may be larger than its tensors, since PyTorch stores the whole storage a view belongs to; a tensor that
/// reaches beyond its record is refused. Errors: corrupt, unsupported; both name the tensor and its record.
/// A record that `cached` has is not read in the archive.
expected<weights> map_weights(const std::shared_ptr<const archive>& from, const std::vector<stored_tensor>& stored,
                              const cached_records& cached = {});

/// Copies what is not there yet to `device`, tensors of the same memory once. Throws what ATen throws, above all
/// c10::OutOfMemoryError. On the CPU nothing happens.
void move_weights(weights& moved, c10::Device device);

}  // namespace shoal::executor
