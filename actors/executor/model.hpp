// A model that can run: an exported graph (.pt2), read, checked and prepared. LibTorch stays behind this header.
//
// One thread at a time: `load` is called on the loader's thread, which hands the model to the worker's compute thread;
// that one alone calls `run`. LibTorch's team of threads belongs to the thread that calls, so each says for itself how
// many it takes (`set_compute_threads`). A model that cannot be run is refused by `load` with the node's name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/tensor.hpp"
#include "executor/device.hpp"
#include "protocol/model.hpp"

namespace shoal::executor {

class object_source;
struct precision_plan;
struct node_reach;
using reaches = std::map<std::string, node_reach>;

/// Graph passes at load. All off: the graph as PyTorch exported it, bit-equal to eager PyTorch.
struct pass_options {
  bool drop_no_ops = true;        ///< dropout in evaluation, asserts, identities, copies to the same dtype
  bool drop_dead = true;          ///< nodes nobody reads
  bool fold_constants = true;     ///< nodes whose inputs are all constants run once, at load
  bool reuse_buffers = true;      ///< memory of values that died is used again
  bool plan_memory = true;        ///< one arena, a plan of it per shape bucket; what has no place there: reuse_buffers
  bool pack_linear = true;        ///< weights of fp32 linears are packed at load, for kernels of our own; needs folding
  bool fuse_activation = true;    ///< relu, gelu, silu and the addition after a packed linear happen in it
  bool fuse_layer_norm = true;    ///< layer norm, and the addition before it, in a kernel of our own
  bool fuse_attention = true;     ///< attention of fp32 in a kernel of our own
  bool functionalise = true;      ///< in-place operators become functional where nobody can tell: folding needs it
  bool fold_batch_norms = true;   ///< into the convolution before them; wants fold_constants
  bool fuse_convolutions = true;  ///< convolution + residual + activation in oneDNN, channels last, packed weights

  static pass_options none() {
    return {.drop_no_ops = false,
            .drop_dead = false,
            .fold_constants = false,
            .reuse_buffers = false,
            .plan_memory = false,
            .pack_linear = false,
            .fuse_activation = false,
            .fuse_layer_norm = false,
            .fuse_attention = false,
            .functionalise = false,
            .fold_batch_norms = false,
            .fuse_convolutions = false};
  }
  /// Without those whose operators are ours or oneDNN's: as on GPUs.
  [[nodiscard]] pass_options of_aten() const;
  [[nodiscard]] bool has_own_kernels() const noexcept;
};

class model {
 public:
  virtual ~model() = default;

  /// Reads the archive (weights stay mapped from the file, which must not change while the model lives), checks every
  /// node against the operator allow-list and the installed operator schemas, and runs the passes.
  /// Errors: not_found, corrupt (what and where in the archive), incompatible (another schema version), unsupported
  /// (the node and its operator).
  /// Weights come from `objects` where it has them (null: it does not); what it lacks is given to it.
  /// On a GPU weights are copied to it, now; memory is not planned, and the passes are `of_aten`. Also: the errors of
  /// prepare_device; too_large (the weights do not fit into the device's memory).
  /// With a `plan` (null: none) its nodes compute in narrow numbers; those need all fusing passes, without which its
  /// nodes are not there. Also: incompatible (a plan for another model or device), invalid_argument (for other nodes).
  static expected<std::unique_ptr<model>> load(const std::filesystem::path& archive, const pass_options& passes = {},
                                               object_source* objects = nullptr, const device& on = {},
                                               const precision_plan* plan = nullptr);

  /// Names, types and shape ranges as the archive gives them; name, version, padding and max_batch are left to the
  /// caller (model_directory.hpp reads model.toml).
  [[nodiscard]] virtual const protocol::model_spec& spec() const noexcept = 0;

  /// Runs the graph. `inputs` are in the order of spec().inputs, already of the right dtype and rank; bytes are used
  /// in place where their alignment allows. Returns one tensor per spec().outputs, in order, named.
  /// Inputs and outputs are in the host's memory, wherever the graph runs.
  /// Errors: invalid_argument (a shape outside the graph's ranges), too_large (memory of the host or the device),
  /// internal (the node and what its operator said).
  /// `seen`: not null: what the inputs of int8 nodes reach is added to it (node_reach.hpp), for less than 1% of the
  /// time.
  virtual expected<std::vector<tensor>> run(std::span<const tensor> inputs, reaches* seen = nullptr) = 0;

  struct figures {
    std::size_t nodes = 0;           ///< after the passes
    std::size_t nodes_exported = 0;  ///< in the archive
    std::uint64_t weight_bytes = 0;  ///< mapped
    std::uint64_t arena_bytes = 0;   ///< what the memory plans of late need
    std::uint64_t made_bytes = 0;    ///< of packed and folded tensors, made at load
    std::uint64_t pool_bytes = 0;    ///< kept for reuse outside of the arena
  };
  [[nodiscard]] virtual figures describe() const noexcept = 0;
  /// Nodes after the passes by operator, fused ones included.
  [[nodiscard]] virtual std::map<std::string, std::size_t> kinds() const = 0;
};

/// Writes model.objects.json beside the archive: what its weights are named in the cache
/// (executor/object_manifest.hpp). Errors: those of reading the archive; unavailable (the folder cannot be written).
expected<void> name_objects(const std::filesystem::path& archive);

/// Makes a device ready for models: for a GPU, LibTorch's CUDA part is loaded. Call it before any model is loaded:
/// LibTorch remembers its first answer about CUDA. Errors: unsupported (no CUDA part beside LibTorch, no GPU),
/// invalid_argument (fewer GPUs than the index says); each says what to do.
expected<void> prepare_device(const device& wanted);

/// Threads of one operator (ATen's intra-op pool) when the calling thread runs a model. Its team is made of the cores
/// that this thread may use at its first parallel operator.
void set_compute_threads(int threads);

/// Bounds what oneDNN and ideep keep for every shape that they have met (kernels, memory descriptors), in entries. Call
/// once, before the first model is loaded and while there is one thread; what the environment says already
/// (ONEDNN_PRIMITIVE_CACHE_CAPACITY, LRU_CACHE_CAPACITY) stays.
void bound_primitive_caches(int entries);

/// Gives memory of models that were unloaded back to the system.
void trim_memory();

}  // namespace shoal::executor
