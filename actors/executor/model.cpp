#include "executor/model.hpp"

#include <malloc.h>
#include <stdlib.h>

#include <bit>
#include <optional>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include "executor/apply_passes.hpp"
#include "executor/cached_records.hpp"
#include "executor/cuda_device.hpp"
#include "executor/derived_tensors.hpp"
#include "executor/device_signature.hpp"
#include "executor/exported_model.hpp"
#include "executor/graph_reader.hpp"
#include "executor/memory_pool.hpp"
#include "executor/operators.hpp"
#include "executor/passes_precision.hpp"
#include "executor/program.hpp"
#include "executor/reach_observer.hpp"
#include "executor/stored_weights.hpp"
#include "executor/torch_tensors.hpp"

namespace shoal::executor {

namespace {

/// Makes a GPU this thread's current one while it lives; nothing for the CPU.
struct current_device : c10::OptionalDeviceGuard {
  explicit current_device(c10::Device device) {
    if (!device.is_cpu()) reset_device(device);
  }
};

class graph_model final : public model {
 public:
  graph_model(c10::Device device, signature&& checked, program&& runs, const figures& described,
              const pass_options& passes)
      : memory_(device),
        signature_(std::move(checked)),
        program_(std::move(runs)),
        figures_(described),
        plans_(passes.plan_memory) {
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
    if (pool_) described.pool_bytes = pool_->idle_bytes();
    return described;
  }
  [[nodiscard]] std::map<std::string, std::size_t> kinds() const override { return program_.kinds(); }

  expected<std::vector<tensor>> run(std::span<const tensor> inputs, reaches* seen) override {
    if (auto checked = signature_.check(inputs); !checked) return tl::unexpected(checked.error());
    const c10::InferenceMode inference;
    const memory_pool::scope reuse(pool_.get(), plans_ ? std::optional(shape_bucket(inputs)) : std::nullopt);
    try {
      const current_device current(memory_.device());
      std::vector<at::Tensor> taken;
      for (std::size_t i = 0; i < inputs.size(); ++i)
        taken.push_back(to_torch(inputs[i], program_.written_inputs()[i], memory_.device()));
      std::optional<reach_observer> observer;
      if (seen != nullptr) program_.observe(&observer.emplace(*seen));
      auto results = program_.run(taken);
      program_.observe(nullptr);
      if (!results) return tl::unexpected(results.error());
      std::vector<tensor> outputs;
      for (std::size_t i = 0; i < results->size(); ++i) {
        auto given = from_torch((*results)[i], spec().outputs[i]);
        if (!given) return tl::unexpected(given.error());
        outputs.push_back(*std::move(given));
      }
      if (pool_) pool_->finish_run();
      return outputs;
    } catch (const c10::OutOfMemoryError& wrong) {
      return fail(errc::too_large, "there is not enough memory for the model's inputs or outputs: " +
                                       std::string(wrong.what_without_backtrace()));
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

  device_memory memory_;  // first: what lies on the device ends before it
  signature signature_;
  std::shared_ptr<memory_pool> pool_;
  program program_;
  figures figures_;
  bool plans_;
};

/// Our own kernels and the memory plan are for CPUs.
pass_options passes_on(c10::Device device, pass_options passes) {
  if (device.is_cpu()) return passes;
  passes.reuse_buffers = passes.plan_memory = false;
  return passes.of_aten();
}

/// The plan's nodes, or why it is not for this model on this device.
expected<void> check_plan(const precision_plan& plan, const archive& of, const graph& after_passes,
                          const std::string& signature, narrowing how) {
  if (plan.is_fp32()) return {};
  if (plan.model != to_hex(of.fingerprint()))
    return fail(errc::incompatible, "the plan is for another model: make one for this (shoal tune)");
  if (plan.device != signature)
    return fail(errc::incompatible, "the plan is for another device (" + plan.device + "; this is " + signature +
                                        "): make one on this (shoal tune)");
  return check_nodes(after_passes, plan.nodes, how);
}

expected<std::unique_ptr<model>> load_graph(const std::filesystem::path& path, const pass_options& wanted,
                                            object_source* objects, const device& on, const precision_plan* plan) {
  const auto device = open_device(on);
  if (!device) return tl::unexpected(device.error());
  const auto passes = passes_on(*device, wanted);
  const current_device current(*device);
  auto opened = exported_model::open(path);
  if (!opened) return tl::unexpected(opened.error());
  auto& [file, exported, checked] = *opened;
  cached_records cached;
  if (objects != nullptr) cached = cached_records::acquire(*objects, path, file, exported.stored);
  auto weights = map_weights(file, exported.stored, cached);
  if (!weights) return tl::unexpected(weights.error());

  move_weights(*weights, *device);
  model::figures described;
  described.nodes_exported = exported.nodes.size();
  described.weight_bytes = weights->bytes;
  apply_passes(passes, exported);
  if (plan != nullptr) {
    const bool has_own = passes.has_own_kernels();
    const auto how = has_own ? narrowing::own_kernels : narrowing::casts;
    const auto signature = device_signature(on, has_own);
    if (auto fits = check_plan(*plan, *file, exported, signature, how); !fits) return tl::unexpected(fits.error());
    apply_precision(exported, plan->nodes, how);
  }
  const memory_pool::loading lasting;
  std::optional<cached_derivations> derived;
  if (objects != nullptr && device->is_cpu()) derived.emplace(*objects, exported, cached);
  auto built =
      program::build(exported, weights->tensors, passes.fold_constants, derived ? &*derived : nullptr, *device);
  if (!built) return tl::unexpected(built.error());
  if (derived) derived->share();
  if (objects != nullptr) cached.publish(*objects, file);
  described.nodes = built->size();
  described.made_bytes = built->made_bytes();
  return std::make_unique<graph_model>(*device, std::move(checked), *std::move(built), described, passes);
}

}  // namespace

expected<std::unique_ptr<model>> model::load(const std::filesystem::path& archive, const pass_options& passes,
                                             object_source* objects, const device& on, const precision_plan* plan) {
  // Tensors made outside of inference mode would go through autograd's dispatch keys in every call.
  const c10::InferenceMode inference;
  try {
    auto loaded = load_graph(archive, passes, objects, on, plan);
    if (loaded) return loaded;
    auto reason = loaded.error();
    reason.message = archive.string() + ": " + reason.message;
    return tl::unexpected(reason);
  } catch (const c10::OutOfMemoryError& wrong) {
    return fail(errc::too_large, archive.string() + " does not fit into the memory of " + to_string(on) + ": " +
                                     wrong.what_without_backtrace());
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

expected<void> prepare_device(const device& wanted) {
  const auto opened = open_device(wanted);
  if (!opened) return tl::unexpected(opened.error());
  return {};
}

}  // namespace shoal::executor
