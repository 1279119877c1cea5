#include "worker/model.hpp"

#include <malloc.h>
#include <stdlib.h>

#include <cstring>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>

#include "worker/executor/archive.hpp"
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
  graph_model(signature&& checked, program&& runs, const figures& described, bool reuse)
      : signature_(std::move(checked)), program_(std::move(runs)), figures_(described) {
    if (reuse) pool_ = memory_pool::make();
  }

  ~graph_model() override {
    if (pool_) pool_->close();
  }

  graph_model(const graph_model&) = delete;
  graph_model& operator=(const graph_model&) = delete;

  [[nodiscard]] const protocol::model_spec& spec() const noexcept override { return signature_.spec(); }
  [[nodiscard]] figures describe() const noexcept override { return figures_; }

  expected<std::vector<tensor>> run(std::span<const tensor> inputs) override {
    if (auto checked = signature_.check(inputs); !checked) return tl::unexpected(checked.error());
    const c10::InferenceMode inference;
    const memory_pool::scope reuse(pool_.get());
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
};

expected<void> check_operators(const graph& exported) {
  for (const auto& each : exported.nodes)
    if (find_scalar_operator(each.target) == nullptr)
      if (auto allowed = check_allowed(each); !allowed) return allowed;
  return {};
}

expected<std::unique_ptr<model>> load_graph(const std::filesystem::path& path, const pass_options& passes) {
  const auto opened = archive::open(path);
  if (!opened) return tl::unexpected(opened.error());
  auto exported = read_graph(**opened);
  if (!exported) return tl::unexpected(exported.error());
  if (auto allowed = check_operators(*exported); !allowed) return tl::unexpected(allowed.error());
  auto checked = signature::read(*exported);
  if (!checked) return tl::unexpected(checked.error());
  auto weights = map_weights(*opened, exported->stored);
  if (!weights) return tl::unexpected(weights.error());

  model::figures described;
  described.nodes_exported = exported->nodes.size();
  described.weight_bytes = weights->bytes;
  if (passes.drop_no_ops) drop_no_ops(*exported);
  if (passes.drop_dead) drop_dead_nodes(*exported);
  auto built = program::build(*exported, weights->tensors, passes.fold_constants);
  if (!built) return tl::unexpected(built.error());
  described.nodes = built->size();
  return std::make_unique<graph_model>(*std::move(checked), *std::move(built), described, passes.reuse_buffers);
}

}  // namespace

expected<std::unique_ptr<model>> model::load(const std::filesystem::path& archive, const pass_options& passes) {
  // Tensors made outside of inference mode would go through autograd's dispatch keys in every call.
  const c10::InferenceMode inference;
  try {
    auto loaded = load_graph(archive, passes);
    if (loaded) return loaded;
    auto reason = loaded.error();
    reason.message = archive.string() + ": " + reason.message;
    return tl::unexpected(reason);
  } catch (const std::exception& wrong) {
    return fail(errc::internal, archive.string() + " could not be loaded: " + wrong.what());
  }
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
