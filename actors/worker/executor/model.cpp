#include "worker/model.hpp"

#include <malloc.h>
#include <stdlib.h>

#include <bit>
#include <cstring>
#include <optional>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>

#include "worker/executor/archive.hpp"
#include "worker/executor/cached_records.hpp"
#include "worker/executor/convolution_operators.hpp"
#include "worker/executor/derived_tensors.hpp"
#include "worker/executor/fused_operators.hpp"
#include "worker/executor/graph_reader.hpp"
#include "worker/executor/memory_pool.hpp"
#include "worker/executor/operators.hpp"
#include "worker/executor/passes.hpp"
#include "worker/executor/program.hpp"
#include "worker/executor/signature.hpp"
#include "worker/executor/stored_weights.hpp"
#include "worker/executor/torch_types.hpp"

namespace shoal::worker {

namespace {

using namespace executor;

class graph_model final : public model {
 public:
  graph_model(signature&& checked, program&& runs, const figures& described, const pass_options& passes)
      : signature_(std::move(checked)), program_(std::move(runs)), figures_(described), plans_(passes.plan_memory) {
    if (passes.reuse_buffers || passes.plan_memory) pool_ = memory_pool::make();
  }

  ~graph_model() override {
    if (pool_) pool_->close();
  }

  graph_model(const graph_model&) = delete;
  graph_model& operator=(const graph_model&) = delete;

  [[nodiscard]] const protocol::model_spec& spec() const noexcept override { return signature_.spec(); }
  [[nodiscard]] figures describe() const noexcept override {
    auto described = figures_;
    if (pool_) described.arena_bytes = pool_->arena_bytes();
    return described;
  }

  expected<std::vector<tensor>> run(std::span<const tensor> inputs) override {
    if (auto checked = signature_.check(inputs); !checked) return tl::unexpected(checked.error());
    const c10::InferenceMode inference;
    const memory_pool::scope reuse(pool_.get(), plans_ ? std::optional(shape_bucket(inputs)) : std::nullopt);
    try {
      std::vector<at::Tensor> taken;
      for (std::size_t i = 0; i < inputs.size(); ++i) taken.push_back(take(inputs[i], program_.written_inputs()[i]));
      auto results = program_.run(taken);
      if (!results) return tl::unexpected(results.error());
      std::vector<tensor> outputs;
      for (std::size_t i = 0; i < results->size(); ++i) {
        auto given = give((*results)[i], spec().outputs[i]);
        if (!given) return tl::unexpected(given.error());
        outputs.push_back(*std::move(given));
      }
      if (pool_) pool_->finish_run();
      return outputs;
    } catch (const std::exception& wrong) {
      return fail(errc::internal,
                  std::string("the model's inputs or outputs could not be handed over: ") + wrong.what());
    }
  }

 private:
  /// Shapes that share a memory plan: sizes up to 8 are told apart, larger ones in eight steps to the next power of
  /// two.
  static std::uint64_t shape_bucket(std::span<const tensor> inputs) {
    std::uint64_t hash = 0xCBF29CE484222325;  // FNV-1a over the steps: a clash costs a wider plan, nothing else
    for (const auto& input : inputs)
      for (const auto size : input.dims) {
        const auto last = static_cast<std::uint64_t>(std::max<std::int64_t>(size, 1)) - 1;
        const auto drop = std::max(0, static_cast<int>(std::bit_width(last)) - 4);
        hash = (hash ^ (last >> drop) ^ (static_cast<std::uint64_t>(drop) << 32)) * 0x100000001B3;
      }
    return hash;
  }

  /// An input as ATen sees it: its bytes in place, kept alive by the tensor; copied if a node writes to it.
  static at::Tensor take(const tensor& given, bool is_written) {
    const auto options = at::TensorOptions().dtype(scalar_type(given.type));
    auto* data = const_cast<std::byte*>(given.data.data());
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % size_of(given.type) == 0;
    if (aligned && !is_written && !given.data.empty())
      return at::from_blob(
          data, given.dims, [keep = given.data](void*) {}, options);
    auto copy = at::empty(given.dims, options);
    if (!given.data.empty()) std::memcpy(copy.data_ptr(), data, given.data.size());
    return copy;
  }

  static expected<tensor> give(const at::Tensor& result, const protocol::tensor_spec& as) {
    // Its shape is taken as it is: PyTorch 2.11 records the final states of an LSTM with a dimension too many.
    if (result.scalar_type() != scalar_type(as.type))
      return fail(errc::internal, "the output " + as.name + " has another type than the archive says");
    auto owner = std::make_shared<const at::Tensor>(result.resolve_neg().contiguous());
    const std::span bytes(static_cast<const std::byte*>(owner->const_data_ptr()), owner->nbytes());
    return tensor{as.name, as.type, owner->sizes().vec(), buffer(owner, bytes)};
  }

  signature signature_;
  std::shared_ptr<memory_pool> pool_;
  program program_;
  figures figures_;
  bool plans_;
};

expected<void> check_operators(const graph& exported) {
  for (const auto& each : exported.nodes)
    if (find_scalar_operator(each.target) == nullptr)
      if (auto allowed = check_allowed(each); !allowed) return allowed;
  return {};
}

/// In-place operators go first, since folding and fusing leave graphs alone that write.
void apply(const pass_options& passes, graph& exported) {
  if (passes.functionalise) functionalise(exported);
  if (passes.drop_no_ops) drop_no_ops(exported);
  if (passes.drop_dead) drop_dead_nodes(exported);
  if (passes.fuse_layer_norm) fuse_layer_norm(exported);
  if (passes.fuse_attention) fuse_attention(exported);
  if (passes.pack_linear && passes.fold_constants) pack_linear(exported);
  if (passes.fuse_activation) fuse_activation(exported);
  if (passes.fold_batch_norms) fold_batch_norms(exported);
  if (passes.fuse_convolutions) fuse_convolutions(exported, passes.fold_constants);
  register_fused_operators();
  register_convolution_operators();
}

expected<std::unique_ptr<model>> load_graph(const std::filesystem::path& path, const pass_options& passes,
                                            object_source* objects) {
  const auto opened = archive::open(path);
  if (!opened) return tl::unexpected(opened.error());
  auto exported = read_graph(**opened);
  if (!exported) return tl::unexpected(exported.error());
  if (auto allowed = check_operators(*exported); !allowed) return tl::unexpected(allowed.error());
  auto checked = signature::read(*exported);
  if (!checked) return tl::unexpected(checked.error());
  cached_records cached;
  if (objects != nullptr) cached = cached_records::acquire(*objects, path, *opened, exported->stored);
  auto weights = map_weights(*opened, exported->stored, cached);
  if (!weights) return tl::unexpected(weights.error());

  model::figures described;
  described.nodes_exported = exported->nodes.size();
  described.weight_bytes = weights->bytes;
  apply(passes, *exported);
  std::optional<cached_derivations> derived;
  if (objects != nullptr) derived.emplace(*objects, *exported, cached);
  auto built = program::build(*exported, weights->tensors, passes.fold_constants, derived ? &*derived : nullptr);
  if (!built) return tl::unexpected(built.error());
  if (objects != nullptr) cached.publish(*objects, *opened);
  described.nodes = built->size();
  return std::make_unique<graph_model>(*std::move(checked), *std::move(built), described, passes);
}

}  // namespace

expected<std::unique_ptr<model>> model::load(const std::filesystem::path& archive, const pass_options& passes,
                                             object_source* objects) {
  // Tensors made outside of inference mode would go through autograd's dispatch keys in every call.
  const c10::InferenceMode inference;
  try {
    auto loaded = load_graph(archive, passes, objects);
    if (loaded) return loaded;
    auto reason = loaded.error();
    reason.message = archive.string() + ": " + reason.message;
    return tl::unexpected(reason);
  } catch (const std::exception& wrong) {
    return fail(errc::internal, archive.string() + " could not be loaded: " + wrong.what());
  }
}

expected<void> name_objects(const std::filesystem::path& path) {
  const auto opened = archive::open(path);
  if (!opened) return tl::unexpected(opened.error());
  const auto exported = read_graph(**opened);
  if (!exported) return tl::unexpected(exported.error());
  const auto manifest = make_manifest(**opened, exported->stored);
  if (!manifest) return tl::unexpected(manifest.error());
  return write_manifest(manifest_path(path), *manifest, **opened);
}

void set_compute_threads(int threads) {
  // ATen sets a thread's number lazily, to whatever was last said anywhere; asking first gets that over with.
  at::get_num_threads();
  at::set_num_threads(threads);
}

void bound_primitive_caches(int entries) {
  const auto text = std::to_string(entries);
  ::setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", text.c_str(), 0);
  ::setenv("LRU_CACHE_CAPACITY", text.c_str(), 0);
}

void trim_memory() { ::malloc_trim(0); }

}  // namespace shoal::worker
