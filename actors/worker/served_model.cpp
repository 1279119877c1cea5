#include "worker/served_model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <spdlog/spdlog.h>

#include "core/memory_room.hpp"
#include "executor/archive.hpp"
#include "executor/device_signature.hpp"
#include "executor/model_directory.hpp"
#include "executor/node_reach.hpp"
#include "executor/precision_plan.hpp"
#include "protocol/join.hpp"
#include "worker/gather.hpp"
#include "worker/ones.hpp"

namespace shoal::worker {

using protocol::model_spec;

namespace {

/// max|a - b| / max|a| over tensors of fp32; anything else must be equal byte for byte.
double difference(const tensor& a, const tensor& b) {
  if (a.dims != b.dims || a.type != b.type || a.data.size() != b.data.size())
    return std::numeric_limits<double>::infinity();
  if (a.type != dtype::fp32)
    return std::memcmp(a.data.data(), b.data.data(), a.data.size()) == 0 ? 0 : std::numeric_limits<double>::infinity();
  double largest = 0;
  double delta = 0;
  for (std::size_t at = 0; at + sizeof(float) <= a.data.size(); at += sizeof(float)) {
    float x = 0;
    float y = 0;
    std::memcpy(&x, a.data.data() + at, sizeof x);
    std::memcpy(&y, b.data.data() + at, sizeof y);
    if (std::isnan(x) != std::isnan(y)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, std::abs(static_cast<double>(x)));
    delta = std::max(delta, std::abs(static_cast<double>(x) - y));
  }
  return largest > 0 ? delta / largest : delta;
}

/// The plan for this device beside the archive; null if there is none, or none that can be read, which is logged.
served_model::shared_plan plan_for(const protocol::load& request, const std::filesystem::path& archive,
                                   const loading& how) {
  auto plan = executor::read_plan(executor::plan_path(archive, executor::device_signature(how.on)));
  if (plan) return std::make_shared<const executor::precision_plan>(*std::move(plan));
  if (plan.error().code != errc::not_found)
    spdlog::warn("model {} computes in fp32: {}", request.name, plan.error().message);
  return nullptr;
}

/// What plans have to be for; without a device: it follows none.
expected<protocol::plan_target> target_of(const protocol::load& request, const std::filesystem::path& archive,
                                          const loading& how) {
  if (how.precision == precision_policy::fp32) return protocol::plan_target{};
  const auto opened = executor::archive::open(archive);
  if (!opened) return tl::unexpected(opened.error());
  return protocol::plan_target{request.name, request.version, (*opened)->fingerprint(),
                               executor::device_signature(how.on)};
}

/// Null: the plan is fp32.
expected<std::shared_ptr<executor::model>> by_plan(const std::filesystem::path& archive,
                                                   const executor::precision_plan& plan, const loading& how) {
  if (plan.is_fp32()) return nullptr;
  auto graph = executor::model::load(archive, {}, how.objects.get(), how.on, &plan);
  if (!graph) return tl::unexpected(graph.error());
  return std::shared_ptr<executor::model>(*std::move(graph));
}

std::string mib(std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

expected<precision_policy> parse_precision_policy(std::string_view name) {
  if (name == "measured") return precision_policy::measured;
  if (name == "fp32") return precision_policy::fp32;
  return fail(errc::invalid_argument,
              "the precision policy \"" + std::string(name) + "\" is not known: write measured or fp32");
}

expected<std::unique_ptr<served_model>> served_model::load(const protocol::load& request, const loading& how) {
  auto prepared = prepare(request, how);
  if (!prepared) return prepared;
  if (auto ready = (*prepared)->make_ready(); !ready) return tl::unexpected(ready.error());
  return prepared;
}

expected<std::unique_ptr<served_model>> served_model::prepare(const protocol::load& request, const loading& how) {
  const auto archive = request.folder / "model.pt2";
  auto exact = executor::model::load(archive, {}, how.objects.get(), how.on);
  if (!exact) return tl::unexpected(exact.error());
  auto spec = (*exact)->spec();
  spec.name = request.name;
  spec.version = request.version;
  if (auto applied = executor::apply_model_toml(request.folder, spec); !applied) return tl::unexpected(applied.error());
  auto target = target_of(request, archive, how);
  if (!target) return tl::unexpected(target.error());
  auto made = std::unique_ptr<served_model>(new served_model(std::move(*exact), std::move(spec)));
  made->target_ = *std::move(target);
  made->shadow_share_ = how.shadow_share;
  made->recomputes_ = how.recomputes;
  if (made->target_.device.empty()) return made;
  const auto plan = plan_for(request, archive, how);
  if (plan == nullptr) return made;
  auto graph = by_plan(archive, *plan, how);
  if (!graph) {
    spdlog::warn("model {} computes in fp32: {}", request.name, graph.error().message);
    return made;
  }
  made->compute_by(plan, *std::move(graph));
  if (made->epoch_ != "fp32")
    spdlog::info("model {} version {} computes by the plan {}: {:.2f} times as fast as fp32, error {:.2f}%",
                 request.name, request.version, made->epoch_, plan->speedup, plan->error * 100);
  return made;
}

expected<std::shared_ptr<executor::model>> served_model::prepare_plan(const protocol::replan& request,
                                                                      const loading& how) {
  const auto archive = request.what.folder / "model.pt2";
  // Of a GPU's memory only the GPU knows: there loading says so.
  if (!request.plan->is_fp32() && how.on.type == executor::device::kind::cpu) {
    // Its weights in other numbers, and what the executions need: not more than those in fp32.
    std::error_code problem;
    const auto needs = std::filesystem::file_size(archive, problem);
    const auto room = how.plan_memory != 0 ? how.plan_memory : available_memory() / 2;
    if (!problem && needs > room)
      return fail(errc::too_large, "a further plan would take about " + mib(needs) + ", and there is room for " +
                                       mib(room) + ": give the worker more memory (worker.plan_memory_mib)");
  }
  return by_plan(archive, *request.plan, how);
}

void served_model::compute_by(shared_plan plan, std::shared_ptr<executor::model> graph) {
  graph_ = graph != nullptr ? std::move(graph) : exact_;
  plan_ = std::move(plan);
  epoch_ = plan_->epoch();
  shadow_.reset();
  aside_.reset();
  if (graph_ != exact_ && shadow_share_ > 0)
    shadow_.emplace(shadow_options{.share = shadow_share_, .budget = plan_->budget});
}

expected<void> served_model::change_plan(shared_plan plan, std::shared_ptr<executor::model> graph) {
  if (graph != nullptr) {
    // Also if it throws: what is not proven answers nobody.
    const auto back = [this](std::shared_ptr<executor::model>* before) { graph_ = *before; };
    auto before = std::exchange(graph_, graph);
    const std::unique_ptr<std::shared_ptr<executor::model>, decltype(back)> restore(&before, back);
    if (auto ready = prove(); !ready) return ready;
  }
  compute_by(std::move(plan), std::move(graph));
  executor::trim_memory();
  return {};
}

void served_model::put_aside(const protocol::compute& batch, const protocol::computed& answer, steady::duration took) {
  if (!shadow_ || batch.members.empty() || !shadow_->is_due(took) || aside_) return;
  const auto member = turn_++ % batch.members.size();
  if (answer.results[member]) aside_ = sample{batch.members[member].inputs, *answer.results[member], {}};
}

std::optional<watched> served_model::watch() {
  if (!aside_) return std::nullopt;
  const auto put = *std::exchange(aside_, std::nullopt);
  const auto begin = steady::now();
  const auto wanted = exact_->run(gather(spec_, {&put.inputs}));
  if (!wanted || wanted->size() != put.outputs.size()) {
    // What fp32 does not do either is no matter of the plan.
    shadow_->charge(steady::now() - begin);
    return std::nullopt;
  }
  std::vector<executor::output_error> errors(wanted->size());
  for (std::size_t o = 0; o < wanted->size(); ++o) executor::add_error((*wanted)[o], put.outputs[o], errors[o]);
  shadow_->add(steady::now() - begin, std::move(errors));
  watched found{
      epoch_, shadow_->error(), shadow_->options().budget, shadow_->samples(), put.node, shadow_->is_breached(), {}};
  if (!found.is_breach) return found;
  found.inputs = put.inputs;
  spdlog::warn(
      "model {} version {} computes in fp32 from now on: by the plan {} its outputs were off by {:.2f}% over the last "
      "{} requests compared, of a budget of {:.2f}%; where no precision service plans it again, do so with such "
      "requests "
      "(shoal tune --data)",
      spec_.name, spec_.version, epoch_, found.error * 100, found.samples, shadow_->options().budget * 100);
  give_plan_up();
  return found;
}

/// Every batch where answers may be replaced; else every eighth, which costs nothing that can be measured.
bool served_model::is_watched_closely() {
  constexpr std::size_t every = 8;
  return shadow_ && is_watched_ && (batches_++ % every == 0 || recomputes_);
}

/// An input beyond what it reached at calibration says that the plan may err: the batch is compared with fp32, at once
/// if it may still be replaced.
void served_model::look_at_reach(const executor::reaches& seen, const std::vector<tensor>& inputs,
                                 std::vector<tensor>& outputs) {
  constexpr milliseconds between{250};  // what is unusual all the time must not take all the time
  const auto node = executor::node_out_of_reach(seen, *plan_);
  const auto now = steady::now();
  if (node.empty() || (!recomputes_ && now - last_alarm_ < between)) return;
  last_alarm_ = now;
  aside_ = sample{inputs, outputs, node};
  // One that ran apart from its batch leaves as it is: a batch's answers are of one plan.
  if (!recomputes_ || is_apart_ || !(shadow_->options().budget > 0)) return;
  auto exact = exact_->run(inputs);
  if (!exact) return;  // what fp32 does not do either is no matter of the plan
  std::vector<executor::output_error> errors(exact->size());
  for (std::size_t o = 0; o < exact->size(); ++o) executor::add_error((*exact)[o], outputs[o], errors[o]);
  if (executor::largest_error(errors) <= shadow_->options().budget) return;
  outputs = *std::move(exact);
  was_recomputed_ = true;
}

expected<void> served_model::make_ready() {
  auto ready = prove();
  if (!ready && graph_ != exact_) {
    spdlog::warn("model {} computes in fp32: by the plan {} it cannot be made ready: {}", spec_.name, epoch_,
                 ready.error().message);
    give_plan_up();
    plan_ = nullptr;  // it was never computed by
    ready = prove();
  }
  if (!ready) return ready;
  spec_.state = protocol::model_state::ready;
  return {};
}

expected<void> served_model::prove() {
  // Ones are nobody's requests.
  is_watched_ = false;
  auto proven = warm_up();
  if (proven) proven = verify_padding();
  batches_ = 0;
  aside_.reset();
  last_alarm_ = {};
  was_recomputed_ = false;
  return proven;
}

void served_model::give_plan_up() {
  graph_ = exact_;
  shadow_.reset();
  epoch_ = "fp32";
}

std::vector<tensor> served_model::sample_inputs() const {
  return ones(spec_, [](const protocol::dimension&) { return 2; });
}

/// A first execution pays for oneDNN's primitives and the threads' team; better here than in somebody's request. That
/// ones are refused by the model says nothing about requests, so it is only noted.
expected<void> served_model::warm_up() {
  const auto inputs = sample_inputs();
  for (int round = 0; round < 2; ++round)
    if (auto ran = run_together({&inputs}); !ran) {
      if (ran.error().code != errc::invalid_argument) return tl::unexpected(ran.error());
      spdlog::info("model {}: no warm-up, since it does not take ones: {}", spec_.name, ran.error().message);
      return {};
    }
  return {};
}

/// A declared padding must not change the answers beyond fp32 noise: a short request alone against the same one joined
/// with a longer one.
expected<void> served_model::verify_padding() {
  if (spec_.pad_symbol.empty()) return {};
  if (spec_.batch_symbol.empty())
    return fail(errc::invalid_argument,
                "model.toml declares padding, but the graph has no free batch dimension common "
                "to all inputs and outputs: remove [padding]");
  const auto of_length = [&](std::int64_t length) {
    return ones(spec_, [&, length](const protocol::dimension& dim) {
      return dim.symbol == spec_.pad_symbol ? length : std::int64_t{1};
    });
  };
  const auto brief = of_length(3);
  const auto longer = of_length(8);
  auto alone = run_together({&brief});
  auto joined = run_together({&brief, &longer});
  if (!alone || !joined) return tl::unexpected((alone ? joined : alone).error());
  for (std::size_t o = 0; o < alone->front().size(); ++o) {
    const auto apart = difference(alone->front()[o], joined->front()[o]);
    if (!(apart <= 1e-4))
      return fail(errc::invalid_argument, "the padding that model.toml declares changes output '" +
                                              alone->front()[o].name + "' by " + std::to_string(apart) +
                                              " of its largest value: correct [padding] or remove it");
  }
  return {};
}

expected<std::vector<std::vector<tensor>>> served_model::run_together(const member_inputs& members) {
  const auto begin = steady::now();
  auto joined = gather(spec_, members);
  const auto gathered = steady::now();
  executor::reaches seen;
  const bool is_watched = is_watched_closely();
  auto outputs = graph_->run(joined, is_watched ? &seen : nullptr);
  if (!outputs) return tl::unexpected(outputs.error());
  if (is_watched) look_at_reach(seen, joined, *outputs);
  const auto computed = steady::now();
  if (is_sample_) gathered_ = std::move(joined);
  for (std::size_t o = 0; o < outputs->size(); ++o) (*outputs)[o].name = spec_.outputs[o].name;
  auto parted = scatter(spec_, members, std::move(*outputs));
  input_time_ += gathered - begin;
  output_time_ += steady::now() - computed;
  return parted;
}

protocol::computed served_model::run(const protocol::compute& batch) {
  protocol::computed answer;
  const auto begin = steady::now();
  input_time_ = output_time_ = {};
  is_sample_ = batch.is_sample;
  is_watched_ = true;
  is_apart_ = false;
  gathered_.clear();
  member_inputs members;
  for (const auto& member : batch.members) {
    members.push_back(&member.inputs);
    answer.rows += static_cast<std::uint32_t>(protocol::profile_of(spec_, member.inputs).rows);
  }
  if (auto together = run_together(members)) {
    for (auto& outputs : *together) answer.results.emplace_back(std::move(outputs));
  } else if (members.size() == 1) {
    answer.results.emplace_back(tl::unexpected(together.error()));
  } else {
    answer.apart = is_apart_ = true;
    for (const auto* member : members) {
      auto alone = run_together({member});
      if (alone)
        answer.results.emplace_back(std::move(alone->front()));
      else
        answer.results.emplace_back(tl::unexpected(alone.error()));
    }
  }
  const auto took = steady::now() - begin;
  put_aside(batch, answer, took);
  answer.plan = std::exchange(was_recomputed_, false) ? "fp32" : epoch_;
  answer.sample = std::exchange(gathered_, {});
  answer.compute_time = std::chrono::duration_cast<microseconds>(took);
  answer.input_time = std::chrono::duration_cast<microseconds>(input_time_);
  answer.output_time = std::chrono::duration_cast<microseconds>(output_time_);
  for (std::size_t m = 0; m < batch.members.size(); ++m) {
    if (!answer.results[m] || batch.members[m].outputs.empty()) continue;
    std::vector<tensor> wanted;
    for (const auto& name : batch.members[m].outputs)
      for (const auto& output : *answer.results[m])
        if (output.name == name) wanted.push_back(output);
    answer.results[m] = std::move(wanted);
  }
  return answer;
}

}  // namespace shoal::worker
