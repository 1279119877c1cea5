#include "precision/laboratory.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>

#include "executor/apply_passes.hpp"
#include "executor/cuda_device.hpp"
#include "executor/derived_tensors.hpp"
#include "executor/exported_model.hpp"
#include "executor/memory_pool.hpp"
#include "executor/output_error.hpp"
#include "executor/program.hpp"
#include "executor/reach_observer.hpp"
#include "executor/stored_weights.hpp"
#include "executor/torch_tensors.hpp"
#include "precision/processor_clock.hpp"

namespace shoal::precision {

namespace {

using namespace executor;
using clock = std::chrono::steady_clock;
using tensors = std::vector<at::Tensor>;

double seconds_since(clock::time_point begin) { return std::chrono::duration<double>(clock::now() - begin).count(); }

/// What a node's constants are, for those that pack a weight again and again.
std::string describe(const node& packing) {
  std::string text = packing.target;
  const auto add = [&](const auto& value, const auto& self) -> void {
    using type = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<type, reference>)
      text += " #" + std::to_string(value.id);
    else if constexpr (std::is_same_v<type, std::int64_t> || std::is_same_v<type, bool> || std::is_same_v<type, double>)
      text += " " + std::to_string(value);
    else if constexpr (std::is_same_v<type, std::string>)
      text += " " + value;
    else if constexpr (std::is_same_v<type, item_list>)
      for (const auto& each : value.items) std::visit([&](const auto& inner) { self(inner, self); }, each);
  };
  for (const auto& input : packing.inputs) {
    text += "," + input.name;
    std::visit([&](const auto& value) { add(value, add); }, input.value);
  }
  return text;
}

/// Packed weights, made once for all programs of one model. Ids of the prepared graph's values are the same in all of
/// them, so the weight that a batch norm was folded into is known by its id, too.
class kept_packings final : public derived_tensors {
 public:
  explicit kept_packings(const graph& of) : values_(of.values.size()) {}
  std::optional<at::Tensor> find(const node& packing) override {
    const auto found = is_of_weight(packing) ? kept_.find(describe(packing)) : kept_.end();
    return found == kept_.end() ? std::nullopt : std::optional(found->second);
  }
  void offer(const node& packing, const at::Tensor& made) override {
    if (is_of_weight(packing)) kept_.emplace(describe(packing), made);
  }

 private:
  [[nodiscard]] bool is_of_weight(const node& packing) const {
    const auto* first = packing.inputs.empty() ? nullptr : std::get_if<reference>(&packing.inputs.front().value);
    return first != nullptr && first->id < values_ &&
           (packing.target.starts_with("torch.ops.shoal.pack_") ||
            packing.target.starts_with("torch.ops.shoal.fold_batch_norm_"));
  }
  std::unordered_map<std::string, at::Tensor> kept_;
  std::size_t values_;
};

class range_observer final : public run_observer {
 public:
  range_observer(const std::vector<choosable_node>& nodes, std::vector<std::vector<float>>& ranges,
                 std::vector<value_range>& values)
      : nodes_(nodes), ranges_(ranges), values_(values) {
    for (std::size_t i = 0; i < nodes.size(); ++i) index_.emplace(nodes[i].name, i);
  }
  void before(const instruction& next, const std::vector<c10::IValue>& arguments) override {
    const auto found = index_.find(next.name);
    if (found == index_.end() || arguments.empty() || !arguments[0].isTensor()) return;
    if (nodes_[found->second].takes_range) return widen(values_[found->second], arguments[0].toTensor());
    const auto x = arguments[0].toTensor().contiguous();
    auto& most = ranges_[found->second];
    const auto width = static_cast<std::int64_t>(most.size());
    if (x.scalar_type() != at::kFloat || x.dim() < 1 || x.size(-1) != width) return;
    const auto* data = x.const_data_ptr<float>();
    for (std::int64_t row = 0; row < x.numel() / std::max<std::int64_t>(width, 1); ++row)
      for (std::int64_t k = 0; k < width; ++k) {
        auto& largest = most[static_cast<std::size_t>(k)];
        largest = std::max(largest, std::abs(data[row * width + k]));
      }
  }
  void after(const instruction&, const std::vector<c10::IValue>&) override {}

 private:
  static void widen(value_range& range, const at::Tensor& x) {
    if (x.scalar_type() != at::kFloat || !x.is_non_overlapping_and_dense()) return;
    // In any order of memory.
    const auto* data = x.const_data_ptr<float>();
    const auto [least, most] = std::minmax_element(data, data + x.numel());
    if (x.numel() == 0 || !std::isfinite(*least) || !std::isfinite(*most)) return;
    range.least = std::min(range.least, static_cast<double>(*least));
    range.most = std::max(range.most, static_cast<double>(*most));
  }

  const std::vector<choosable_node>& nodes_;
  std::unordered_map<std::string, std::size_t> index_;
  std::vector<std::vector<float>>& ranges_;
  std::vector<value_range>& values_;
};

class time_observer final : public run_observer {
 public:
  explicit time_observer(c10::Device device) : device_(device) {}
  void before(const instruction&, const std::vector<c10::IValue>&) override {
    wait_for(device_);
    begin_ = clock::now();
  }
  void after(const instruction& done, const std::vector<c10::IValue>&) override {
    wait_for(device_);
    const auto took = seconds_since(begin_);
    run_ += took;
    const auto [entry, is_new] = least_.try_emplace(done.source, took);
    if (!is_new) entry->second = std::min(entry->second, took);
    names_.try_emplace(done.source, done.name);
  }
  /// A run is over that took so long.
  void end_run(double took) { beside_ = std::min(beside_, std::max(0.0, took - std::exchange(run_, 0))); }
  /// Likewise, and nobody looked at its nodes.
  void end_plain_run(double took) { plain_ = std::min(plain_.value_or(took), took); }
  [[nodiscard]] double whole() const {
    if (plain_) return *plain_;
    double sum = beside_;
    for (const auto& [source, took] : least_) sum += took;
    return sum;
  }
  [[nodiscard]] std::map<std::string, double> nodes() const {
    std::map<std::string, double> by_name;
    for (const auto& [source, took] : least_) by_name[names_.at(source)] += took;
    return by_name;
  }

 private:
  c10::Device device_;
  clock::time_point begin_;
  std::optional<double> plain_;
  double run_ = 0;  ///< of its nodes
  double beside_ = std::numeric_limits<double>::max();
  std::unordered_map<std::size_t, double> least_;  ///< by the node's place
  std::unordered_map<std::size_t, std::string> names_;
};

class graph_laboratory final : public laboratory {
 public:
  graph_laboratory(c10::Device device, narrowing how, graph&& exported, graph&& prepared, weights&& held,
                   signature&& takes, std::string model, std::function<bool()> is_wanted)
      : memory_(device),
        how_(how),
        exported_(std::move(exported)),
        prepared_(std::move(prepared)),
        weights_(std::move(held)),
        signature_(std::move(takes)),
        model_(std::move(model)),
        is_wanted_(std::move(is_wanted)),
        nodes_(choosable_nodes(prepared_, how)),
        packings_(prepared_),
        pool_(memory_pool::make()) {}
  ~graph_laboratory() override { pool_->close(); }
  graph_laboratory(const graph_laboratory&) = delete;
  graph_laboratory& operator=(const graph_laboratory&) = delete;

  [[nodiscard]] const protocol::model_spec& spec() const noexcept override { return signature_.spec(); }
  [[nodiscard]] const graph& exported() const noexcept override { return exported_; }
  [[nodiscard]] const std::string& model() const noexcept override { return model_; }
  [[nodiscard]] const std::vector<choosable_node>& nodes() const noexcept override { return nodes_; }
  [[nodiscard]] std::size_t samples() const noexcept override { return samples_.size(); }
  [[nodiscard]] std::vector<shape> shapes(std::size_t sample) const override {
    std::vector<shape> all;
    for (const auto& each : samples_[sample]) all.push_back(each.sizes().vec());
    return all;
  }
  [[nodiscard]] const std::vector<std::vector<float>>& input_ranges() const noexcept override { return ranges_; }
  [[nodiscard]] const std::vector<value_range>& value_ranges() const noexcept override { return values_; }

  expected<void> use(const std::vector<std::vector<tensor>>& samples, bool leaves_out) override {
    return guarded([&]() -> expected<void> {
      samples_.clear();
      wanted_.clear();
      ranges_.clear();
      for (const auto& each : nodes_)
        ranges_.emplace_back(
            each.can(executor::precision::int8) && !each.takes_range ? static_cast<std::size_t>(each.inner) : 0, 0.0F);
      values_.assign(nodes_.size(), {});
      auto plain = build({});
      if (!plain) return tl::unexpected(plain.error());
      for (const auto& sample : samples) {
        if (auto fits = signature_.check(sample); !fits) {
          if (leaves_out) continue;
          return fits;
        }
        tensors taken;
        for (std::size_t i = 0; i < sample.size(); ++i) taken.push_back(to_torch(sample[i], false, memory_.device()));
        auto outputs = run(*plain, taken);
        if (!outputs && leaves_out && outputs.error().code != errc::cancelled) continue;
        if (!outputs) return tl::unexpected(outputs.error());
        if (!std::all_of(outputs->begin(), outputs->end(), [](const tensor& each) { return is_finite(each); })) {
          if (leaves_out) continue;
          return fail(
              errc::invalid_argument,
              "the sample " + std::to_string(samples_.size()) +
                  " makes outputs in fp32 that are not finite: nothing can be compared with them; leave it out");
        }
        samples_.push_back(std::move(taken));
        wanted_.push_back(*std::move(outputs));
      }
      if (samples_.empty())
        return fail(errc::invalid_argument,
                    "the model takes none of the samples with finite outputs: there is nothing "
                    "to plan with");
      // Apart, so that what was left out widens no range. Ranges are int8's, which is for our own kernels.
      if (how_ == narrowing::casts) return {};
      range_observer ranges(nodes_, ranges_, values_);
      plain->observe(&ranges);
      for (const auto& sample : samples_)
        if (const auto ran = run(*plain, sample); !ran) return tl::unexpected(ran.error());
      return {};
    });
  }

  [[nodiscard]] std::vector<float> weight_ranges(std::size_t node) const override {
    const auto& of = nodes_[node];
    std::vector<float> most(static_cast<std::size_t>(of.inner), 0.0F);
    for (std::size_t i = 0; i < prepared_.stored.size(); ++i) {
      if (of.weight != prepared_.stored[i].id) continue;
      const auto weight = weights_.tensors[i].contiguous();
      const auto* data = weight.const_data_ptr<float>();
      for (std::int64_t c = 0; c < of.columns; ++c)
        for (std::int64_t k = 0; k < of.inner; ++k)
          most[static_cast<std::size_t>(k)] =
              std::max(most[static_cast<std::size_t>(k)], std::abs(data[c * of.inner + k]));
    }
    return most;
  }

  expected<double> error(const node_choices& choices, std::size_t count) override {
    return guarded([&]() -> expected<double> {
      auto changed = build(choices);
      if (!changed) return tl::unexpected(changed.error());
      std::vector<output_error> sums(spec().outputs.size());
      for (std::size_t s = 0; s < std::min(count, samples_.size()); ++s) {
        const auto outputs = run(*changed, samples_[s]);
        if (!outputs) return tl::unexpected(outputs.error());
        for (std::size_t o = 0; o < sums.size(); ++o) add_error(wanted_[s][o], (*outputs)[o], sums[o]);
      }
      return largest_error(sums);
    });
  }

  expected<reaches> reach(const node_choices& choices) override {
    return guarded([&]() -> expected<reaches> {
      auto changed = build(choices);
      if (!changed) return tl::unexpected(changed.error());
      reaches seen;
      reach_observer observer(seen);
      changed->observe(&observer);
      for (const auto& sample : samples_)
        if (const auto ran = run(*changed, sample); !ran) return tl::unexpected(ran.error());
      return seen;
    });
  }

  expected<std::vector<std::vector<run_times>>> time(const std::vector<node_choices>& choices,
                                                     const std::vector<std::size_t>& which, double seconds) override {
    return guarded([&]() -> expected<std::vector<std::vector<run_times>>> {
      std::vector<program> programs;
      for (const auto& each : choices) {
        auto made = build(each);
        if (!made) return tl::unexpected(made.error());
        programs.push_back(*std::move(made));
      }
      std::vector<std::vector<run_times>> times(choices.size(), std::vector<run_times>(which.size()));
      for (std::size_t s = 0; s < which.size(); ++s) {
        std::vector<time_observer> observers(choices.size(), time_observer(memory_.device()));
        const auto begin = processor_seconds();
        // The first round warms up what remembers shapes.
        for (int round = -1; round < 3 || processor_seconds() - begin < seconds / static_cast<double>(which.size());
             ++round)
          for (std::size_t c = 0; c < programs.size(); ++c) {
            programs[c].observe(round < 0 ? nullptr : &observers[c]);
            auto start = clock::now();
            if (const auto ran = run(programs[c], samples_[which[s]]); !ran) return tl::unexpected(ran.error());
            if (round >= 0) observers[c].end_run(seconds_since(start));
            if (round < 0 || memory_.device().is_cpu()) continue;
            programs[c].observe(nullptr);
            start = clock::now();
            if (const auto ran = run(programs[c], samples_[which[s]]); !ran) return tl::unexpected(ran.error());
            observers[c].end_plain_run(seconds_since(start));
          }
        for (std::size_t c = 0; c < programs.size(); ++c) times[c][s] = {observers[c].whole(), observers[c].nodes()};
      }
      return times;
    });
  }

 private:
  template <class Work>
  auto guarded(Work&& work) -> decltype(work()) {
    const c10::InferenceMode inference;
    try {
      c10::OptionalDeviceGuard current;
      if (!memory_.device().is_cpu()) current.reset_device(memory_.device());
      return work();
    } catch (const std::exception& wrong) {
      return fail(errc::internal, std::string("the model could not be measured: ") + wrong.what());
    }
  }

  expected<program> build(const node_choices& choices) {
    auto changed = prepared_;
    if (auto known = check_nodes(changed, choices, how_); !known) return tl::unexpected(known.error());
    apply_precision(changed, choices, how_);
    const memory_pool::loading lasting;
    return program::build(changed, weights_.tensors, true, &packings_, memory_.device());
  }

  expected<std::vector<tensor>> run(program& prepared, const tensors& inputs) {
    if (!is_wanted_()) return fail(errc::cancelled, "nobody wants the plan any more");
    const memory_pool::scope reuse(pool_.get(), std::nullopt);
    tensors given;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      given.push_back(prepared.written_inputs()[i] ? inputs[i].clone() : inputs[i]);
    const auto made = prepared.run(given);
    if (!made) return tl::unexpected(made.error());
    std::vector<tensor> outputs;
    for (std::size_t o = 0; o < made->size(); ++o) {
      auto output = from_torch((*made)[o], spec().outputs[o]);
      if (!output) return tl::unexpected(output.error());
      outputs.push_back(*std::move(output));
    }
    pool_->finish_run();
    return outputs;
  }

  device_memory memory_;  // first: what lies on the device ends before it
  narrowing how_;
  graph exported_;
  graph prepared_;
  weights weights_;
  signature signature_;
  std::string model_;
  std::function<bool()> is_wanted_;
  std::vector<choosable_node> nodes_;
  kept_packings packings_;
  std::shared_ptr<memory_pool> pool_;
  std::vector<tensors> samples_;
  std::vector<std::vector<tensor>> wanted_;  ///< per sample: fp32's outputs
  std::vector<std::vector<float>> ranges_;
  std::vector<value_range> values_;
};

expected<std::unique_ptr<laboratory>> open_graph(const std::filesystem::path& path, const device& on, bool own_kernels,
                                                 std::function<bool()> is_wanted) {
  const auto opened_device = open_device(on);
  if (!opened_device) return tl::unexpected(opened_device.error());
  const bool casts = !own_kernels || on.type != device::kind::cpu;
  auto opened = exported_model::open(path);
  if (!opened) return tl::unexpected(opened.error());
  auto& [file, exported, takes] = *opened;
  auto held = map_weights(file, exported.stored);
  if (!held) return tl::unexpected(held.error());
  move_weights(*held, *opened_device);
  auto prepared = exported;
  apply_passes(casts ? pass_options{}.of_aten() : pass_options{}, prepared);
  return std::make_unique<graph_laboratory>(*opened_device, casts ? narrowing::casts : narrowing::own_kernels,
                                            std::move(exported), std::move(prepared), *std::move(held),
                                            std::move(takes), to_hex(file->fingerprint()), std::move(is_wanted));
}

}  // namespace

expected<std::unique_ptr<laboratory>> laboratory::open(const std::filesystem::path& archive, const device& on,
                                                       bool own_kernels, std::function<bool()> is_wanted) {
  const c10::InferenceMode inference;
  try {
    auto opened = open_graph(archive, on, own_kernels, std::move(is_wanted));
    if (opened) return opened;
    auto reason = opened.error();
    reason.message = archive.string() + ": " + reason.message;
    return tl::unexpected(reason);
  } catch (const std::exception& wrong) {
    return fail(errc::internal, archive.string() + " could not be loaded: " + wrong.what());
  }
}

}  // namespace shoal::precision
