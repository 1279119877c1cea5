// Tensors that packing nodes (torch.ops.shoal.pack_linear and its narrow kin) make of weights at load, shared by the
// workers of a host: the first worker packs and offers, the others map. Includes LibTorch.
//
// Owned by the load that is under way. A derived object describes itself in a header, since nobody can tell its sizes
// beforehand; the header is hostile until checked. Layout, 128 bytes, little-endian: "shoaltn1", u32 dtype
// (core/dtype.hpp), u32 rank, rank i64 sizes, zeros; then the bytes, row-major.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include <ATen/core/Tensor.h>

#include "executor/cached_records.hpp"
#include "executor/graph.hpp"

namespace shoal::executor {

/// program::build asks `find` before it folds a node that makes one tensor, and `offer`s what it had to make. Nodes
/// that pack nothing are not found and not taken.
class derived_tensors {
 public:
  virtual ~derived_tensors() = default;
  virtual std::optional<at::Tensor> find(const node& packing) = 0;
  virtual void offer(const node& packing, const at::Tensor& made) = 0;
};

struct derivation {
  protocol::object_key source;
  std::string layout;
  std::int64_t elements = 0;  ///< of the packed form, of that type
  c10::ScalarType type = c10::ScalarType::Float;
};

/// What `packing` makes of what: only if it packs a linear's weight, or a narrow convolution's, its first input is a
/// stored weight ([columns, inner]; [out, in, height, width]) whose object is known, or that with a batch norm of
/// stored tensors folded into it, and all others are constants.
std::optional<derivation> derivation_of(const node& packing, const graph& in, const cached_records& records);

buffer to_object(const at::Tensor& made);
/// Nothing: the bytes are not such an object.
std::optional<at::Tensor> from_object(const buffer& bytes);

/// Over the cache: asks for all that the graph packs at once.
class cached_derivations final : public derived_tensors {
 public:
  cached_derivations(object_source& source, const graph& packs, const cached_records& records);

  std::optional<at::Tensor> find(const node& packing) override;
  void offer(const node& packing, const at::Tensor& made) override;

  /// Once all are made: what was offered is mapped back and takes the place of this process's own bytes, so that
  /// workers that start together share one copy, too. Waits for the cache, a bounded time; what it did not take stays.
  /// Only while nothing runs.
  void share();

 private:
  struct entry {
    derivation made_of;
    protocol::object_key key;
    object_source::found answer;
  };
  object_source& source_;
  [[nodiscard]] static std::optional<at::Tensor> packed_in(const entry& from);
  std::vector<std::pair<std::string, at::Tensor>> offered_;  ///< node name, what it made
  std::unordered_map<std::string, entry> entries_;           ///< by node name, which is unique in a graph
};

}  // namespace shoal::executor
