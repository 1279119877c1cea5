#include "worker/served_model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <spdlog/spdlog.h>

#include "executor/model_directory.hpp"
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

/// The plan for this device beside the archive; nothing if there is none, or none that can be read, which is logged.
std::optional<executor::precision_plan> plan_for(const protocol::load& request, const std::filesystem::path& archive,
                                                 const loading& how) {
  if (how.precision == precision_policy::fp32 || how.on.type != executor::device::kind::cpu) return std::nullopt;
  auto plan = executor::read_plan(executor::plan_path(archive, executor::cpu_signature()));
  if (plan) return *std::move(plan);
  if (plan.error().code != errc::not_found)
    spdlog::warn("model {} computes in fp32: {}", request.name, plan.error().message);
  return std::nullopt;
}

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
  const auto plan = plan_for(request, archive, how);
  auto graph = executor::model::load(archive, {}, how.objects.get(), how.on, plan ? &*plan : nullptr);
  std::string epoch = plan ? plan->epoch() : "fp32";
  if (!graph && plan && !plan->is_fp32()) {
    // If it cannot be loaded without the plan either, that is what is wrong.
    auto plain = executor::model::load(archive, {}, how.objects.get(), how.on);
    if (!plain) return tl::unexpected(plain.error());
    spdlog::warn("model {} computes in fp32: {}", request.name, graph.error().message);
    graph = std::move(plain);
    epoch = "fp32";
  }
  if (!graph) return tl::unexpected(graph.error());
  auto spec = (*graph)->spec();
  spec.name = request.name;
  spec.version = request.version;
  if (auto applied = executor::apply_model_toml(request.folder, spec); !applied) return tl::unexpected(applied.error());
  if (epoch != "fp32")
    spdlog::info("model {} version {} computes by the plan {}: {:.2f} times as fast as fp32, error {:.2f}%",
                 request.name, request.version, epoch, plan->speedup, plan->error * 100);
  auto made = std::unique_ptr<served_model>(new served_model(std::move(*graph), std::move(spec), epoch));
  if (epoch != "fp32" && how.shadow_share > 0) {
    auto exact = executor::model::load(archive, {}, how.objects.get(), how.on);
    if (!exact) return tl::unexpected(exact.error());
    made->exact_ = std::move(*exact);
    made->shadow_.emplace(shadow_options{.share = how.shadow_share, .budget = plan->budget});
  }
  return made;
}

void served_model::put_aside(const protocol::compute& batch, const protocol::computed& answer, steady::duration took) {
  if (!shadow_ || batch.members.empty() || !shadow_->is_due(took)) return;
  const auto member = turn_++ % batch.members.size();
  if (answer.results[member]) aside_ = sample{batch.members[member].inputs, *answer.results[member]};
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
  watched found{epoch_, shadow_->error(), shadow_->samples(), shadow_->is_breached()};
  if (!found.is_breach) return found;
  spdlog::warn(
      "model {} version {} computes in fp32 from now on: by the plan {} its outputs were off by {:.2f}% over the last "
      "{} "
      "requests compared, of a budget of {:.2f}%; plan it again with such requests (shoal tune --data)",
      spec_.name, spec_.version, epoch_, found.error * 100, found.samples, shadow_->options().budget * 100);
  give_plan_up();
  return found;
}

expected<void> served_model::make_ready() {
  auto ready = warm_up();
  if (ready) ready = verify_padding();
  if (!ready && exact_) {
    spdlog::warn("model {} computes in fp32: by the plan {} it cannot be made ready: {}", spec_.name, epoch_,
                 ready.error().message);
    give_plan_up();
    return make_ready();
  }
  if (!ready) return ready;
  spec_.state = protocol::model_state::ready;
  return {};
}

void served_model::give_plan_up() {
  graph_ = std::move(exact_);
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
  auto outputs = graph_->run(joined);
  if (!outputs) return tl::unexpected(outputs.error());
  const auto computed = steady::now();
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
    answer.apart = true;
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
