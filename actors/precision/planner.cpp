#include "precision/planner.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "core/tensor_bytes.hpp"
#include "executor/device_signature.hpp"
#include "precision/knapsack.hpp"
#include "precision/laboratory.hpp"
#include "precision/processor_clock.hpp"
#include "precision/seeded_inputs.hpp"

namespace shoal::precision {

namespace {

using executor::choosable_node;
using executor::node_precision;
using executor::precision_plan;
using as = executor::precision;

/// Below this a plan is not worth the loss, however small: it is within what a machine wavers by.
constexpr double least_gain = 0.02;
/// Of the time, for trying each choice of each node, on as many executions as it has room for. All of them judge the
/// whole plan.
constexpr double share_for_choices = 0.5;
constexpr std::size_t most_samples_per_choice = 8;

constexpr std::uint64_t seeded_samples = 4;
constexpr std::size_t most_named = 4;  ///< nodes, in a sentence

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", share * 100);
  return text;
}

std::string times(double ratio) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", ratio);
  return text;
}

class planner {
 public:
  planner(laboratory& model, const planning& how) : model_(model), how_(how), begin_(processor_seconds()) {
    result_.plan.model = model.model();
    result_.plan.device = executor::device_signature(how.on, how.own_kernels);
    result_.plan.policy = how.policy;
    result_.plan.calibrated_on = how.samples.empty() ? executor::calibration::seeded : how.samples_are;
    result_.plan.budget = how.budget;
  }

  /// The plan without its nodes of the greatest errors, as many as must go.
  expected<planning_result> mend(const precision_plan& beyond) {
    if (auto used = use_samples(); !used) return tl::unexpected(used.error());
    std::vector<std::pair<double, std::string>> nodes;
    for (const auto& [name, choice] : beyond.nodes) {
      how_.progress("error of each node", static_cast<double>(nodes.size()) / static_cast<double>(beyond.nodes.size()));
      if (choice.as == as::fp32) continue;
      const auto error = model_.error({{name, choice}}, model_.samples());
      if (!error) return tl::unexpected(error.error());
      nodes.emplace_back(*error, name);
    }
    std::sort(nodes.rbegin(), nodes.rend());
    // Errors add up, so the fewest that must go are found by halving.
    const auto without = [&](std::size_t first) {
      auto left = beyond.nodes;
      for (std::size_t n = 0; n < first; ++n) left.erase(nodes[n].second);
      return left;
    };
    std::size_t least = 0;
    auto most = nodes.size();
    while (least < most) {
      const auto middle = (least + most) / 2;
      const auto error = model_.error(without(middle), model_.samples());
      if (!error) return tl::unexpected(error.error());
      if (*error <= how_.budget)
        most = middle;
      else
        least = middle + 1;
    }
    result_.plan.calibrated_on = beyond.calibrated_on;
    result_.plan.policy = beyond.policy;
    auto mended = result_.plan;
    mended.nodes = without(most);
    auto found = measured(std::move(mended));
    if (!found) return tl::unexpected(found.error());
    result_.plan = *std::move(found);
    if (result_.plan.speedup < 1 + least_gain) result_.plan.nodes.clear();
    result_.verdict = "mended: ";
    for (std::size_t n = 0; n < most && n < most_named; ++n) result_.verdict += (n == 0 ? "" : ", ") + nodes[n].second;
    if (most > most_named) result_.verdict += " and " + std::to_string(most - most_named) + " more";
    if (most == 0) result_.verdict += "no node";
    result_.verdict += " back in fp32; " + times(result_.plan.speedup) + " times as fast as fp32 with an error of " +
                       percent(result_.plan.error) + " (budget " + percent(how_.budget) + ") on what breached it";
    return std::move(result_);
  }

  expected<planning_result> run() {
    if (auto used = use_samples(); !used) return tl::unexpected(used.error());
    if (model_.nodes().empty()) {
      result_.verdict = "fp32: the model has no node whose precision can be chosen";
      return std::move(result_);
    }
    if (how_.policy != "measured") return follow_policy();
    describe_nodes();
    if (auto timed = time_precisions(); !timed) return tl::unexpected(timed.error());
    if (auto measured = measure_errors(); !measured) return tl::unexpected(measured.error());
    if (auto found = find_plan(); !found) return tl::unexpected(found.error());
    if (how_.draws_curve)
      if (auto drawn = draw_curve(); !drawn) return tl::unexpected(drawn.error());
    how_.progress("done", 1);
    return std::move(result_);
  }

 private:
  [[nodiscard]] double elapsed() const { return processor_seconds() - begin_; }

  /// Every node that can as the policy says; worth it or not is measured and told.
  expected<planning_result> follow_policy() {
    how_.progress("the policy " + how_.policy, 0);
    result_.plan.nodes = how_.policy == "bf16" ? all_in(as::bf16) : by_rule();
    auto found = measured(std::move(result_.plan));
    if (!found) return tl::unexpected(found.error());
    result_.plan = *std::move(found);
    result_.verdict = times(result_.plan.speedup) + " times as fast as fp32 with an error of " +
                      percent(result_.plan.error) + ": the policy " + how_.policy + ", as asked for";
    return std::move(result_);
  }

  expected<void> use_samples() {
    how_.progress("calibration", 0);
    auto samples = how_.samples;
    if (samples.empty()) {
      for (const auto size : typical_sizes(model_.spec()))
        for (std::uint64_t seed = 1; seed <= seeded_samples; ++seed)
          samples.push_back(seeded_inputs(model_.exported(), model_.spec(), size, seed));
    }
    // Small ones first: choices are tried on as many as there is time for.
    std::stable_sort(samples.begin(), samples.end(),
                     [](const auto& a, const auto& b) { return bytes_of(a) < bytes_of(b); });
    if (auto used = model_.use(samples, how_.leaves_out_unusable); !used) return used;
    // The smallest, the middle and the largest stand for all.
    const auto count = model_.samples();
    for (const auto s : {std::size_t{0}, count / 2, count - 1})
      if (timed_.empty() || model_.shapes(s) != model_.shapes(timed_.back())) timed_.push_back(s);
    return {};
  }

  /// Steps that share the sizes of an input's channels evenly with the weights that read it: halves of both
  /// logarithms (SmoothQuant's alpha of 0.5). All that read one input have the same, so that it is quantised once.
  [[nodiscard]] std::vector<std::int64_t> smoothing_of(std::size_t node) const {
    const auto& nodes = model_.nodes();
    const auto& input = model_.input_ranges()[node];
    std::vector<float> weight(input.size(), 0.0F);
    for (std::size_t other = 0; other < nodes.size(); ++other) {
      if (nodes[other].input != nodes[node].input) continue;
      const auto ranges = model_.weight_ranges(other);
      for (std::size_t k = 0; k < weight.size() && k < ranges.size(); ++k) weight[k] = std::max(weight[k], ranges[k]);
    }
    std::vector<std::int64_t> steps(input.size(), 0);
    for (std::size_t k = 0; k < steps.size(); ++k) {
      if (!(input[k] > 0) || !(weight[k] > 0) || !std::isfinite(input[k]) || !std::isfinite(weight[k])) continue;
      const double step = std::round(4 * 0.5 * (std::log2(input[k]) - std::log2(weight[k])));
      steps[k] =
          static_cast<std::int64_t>(std::clamp(step, -1.0 * executor::most_smoothing, 1.0 * executor::most_smoothing));
    }
    return steps;
  }

  /// Nothing where the samples show none: images then have scales of their own.
  [[nodiscard]] std::optional<executor::value_range> range_of(std::size_t node) const {
    const auto& range = model_.value_ranges()[node];
    const bool is_range = model_.nodes()[node].takes_range && range.most - range.least >= 1e-30 &&
                          range.most <= executor::largest_range && range.least >= -executor::largest_range;
    return is_range ? std::optional(range) : std::nullopt;
  }

  void describe_nodes() {
    const auto& nodes = model_.nodes();
    for (std::size_t n = 0; n < nodes.size(); ++n) {
      measured_node described{nodes[n].name, nodes[n].columns, nodes[n].inner, 0, {}};
      const auto add = [&](node_precision choice) { described.choices.push_back({std::move(choice), 0, -1}); };
      for (const auto which : {as::bf16, as::fp16})
        if (nodes[n].can(which)) add({which, {}, false});
      if (nodes[n].can(as::int8_weight)) add({as::int8_weight, {}, true});
      if (nodes[n].can(as::int8) && nodes[n].takes_range) {
        add({as::int8, {}, true, range_of(n)});
      } else if (nodes[n].can(as::int8)) {
        // Clipped scales are those with the least error: at eight bits mostly those without clipping.
        add({as::int8, {}, true});
        add({as::int8, smoothing_of(n), true});
      }
      result_.nodes.push_back(std::move(described));
    }
  }

  /// All nodes in one precision at a time: what each node takes in it, and its part of what quantising costs elsewhere.
  expected<void> time_precisions() {
    how_.progress("time of each node", 0);
    std::vector<as> precisions{as::fp32};
    std::vector<node_choices> uniform{{}};
    for (const auto which : {as::bf16, as::fp16, as::int8_weight, as::int8}) {
      auto choices = all_in(which);
      if (choices.empty()) continue;
      precisions.push_back(which);
      uniform.push_back(std::move(choices));
    }
    const auto measured = model_.time(uniform, timed_, how_.seconds * 0.15);
    if (!measured) return tl::unexpected(measured.error());
    const auto shapes = static_cast<double>(timed_.size());
    double all_inner = 0;
    for (const auto& node : result_.nodes) all_inner += static_cast<double>(node.inner);
    for (std::size_t s = 0; s < timed_.size(); ++s) {
      const auto& plain = (*measured)[0][s];
      // Beside its nodes: dispatch and what is handed over.
      const double whole = plain.whole;
      for (auto& node : result_.nodes) node.share += time_at(plain, node.name) / whole / shapes;
      for (std::size_t p = 1; p < precisions.size(); ++p) {
        const auto& narrow = (*measured)[p][s];
        const double beside = std::max(0.0, beside_nodes(narrow) - beside_nodes(plain));
        for (auto& node : result_.nodes)
          for (auto& choice : node.choices) {
            if (choice.choice.as != precisions[p]) continue;
            const double own = time_at(plain, node.name) - time_at(narrow, node.name);
            const double part = beside * static_cast<double>(node.inner) / std::max(all_inner, 1.0);
            choice.gain += (own - part) / whole / shapes;
          }
      }
    }
    return {};
  }

  /// Every node that can be in that precision.
  [[nodiscard]] node_choices all_in(as which) const {
    node_choices choices;
    for (std::size_t n = 0; n < model_.nodes().size(); ++n) {
      const auto& node = model_.nodes()[n];
      if (which == as::fp32 || !node.can(which)) continue;
      auto& choice = choices[node.name] = {which, {}, false};
      if (which == as::int8) choice.input_range = range_of(n);
    }
    return choices;
  }

  /// The published table (planning_result::policies): matrix products in fp16, since no weight here comes quantised.
  [[nodiscard]] node_choices by_rule() const { return all_in(as::fp16); }

  static double time_at(const run_times& of, const std::string& name) {
    const auto found = of.nodes.find(name);
    return found == of.nodes.end() ? 0 : found->second;
  }

  [[nodiscard]] double beside_nodes(const run_times& of) const {
    double sum = 0;
    for (const auto& [name, took] : of.nodes) sum += took;
    for (const auto& node : result_.nodes) sum -= time_at(of, node.name);
    return sum;
  }

  expected<void> measure_errors() {
    // What takes most of the time first: where seconds run out, the rest stays as it is.
    std::vector<std::size_t> order(result_.nodes.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return result_.nodes[a].share > result_.nodes[b].share; });
    std::size_t choices = 0;
    for (const auto& node : result_.nodes)
      for (const auto& choice : node.choices) choices += choice.gain > 0 ? 1 : 0;
    const auto begin = elapsed();
    const auto count = samples_for(choices);
    if (!count) return tl::unexpected(count.error());
    std::size_t done = 0;
    for (const auto n : order) {
      auto& node = result_.nodes[n];
      how_.progress("error of each node", static_cast<double>(done++) / static_cast<double>(order.size()));
      for (auto& choice : node.choices) {
        if (!(choice.gain > 0)) continue;
        if (elapsed() - begin > how_.seconds * share_for_choices) {
          unmeasured_ = order.size() - done + 1;
          return {};
        }
        const auto error = model_.error({{node.name, choice.choice}}, *count);
        if (!error) return tl::unexpected(error.error());
        choice.error = std::isfinite(*error) ? *error : -1;
      }
    }
    return {};
  }

  /// How many samples each of so many choices can be tried on.
  expected<std::size_t> samples_for(std::size_t choices) {
    const auto most = std::min(model_.samples(), most_samples_per_choice);
    const double room = how_.seconds * share_for_choices / static_cast<double>(std::max<std::size_t>(choices, 1));
    std::size_t count = 1;
    for (; count < most; ++count) {
      const auto begin = elapsed();
      if (const auto tried = model_.error({}, count + 1); !tried) return tl::unexpected(tried.error());
      if (elapsed() - begin > room) break;
    }
    return count;
  }

  struct candidate {
    node_choices choices;
    double gain = 0;  ///< as the nodes' gains add up
  };

  [[nodiscard]] candidate solve(double squared_budget) const {
    std::vector<std::vector<knapsack_option>> options;
    for (const auto& node : result_.nodes) {
      options.emplace_back();
      for (const auto& choice : node.choices)
        options.back().push_back({choice.gain, choice.error < 0 ? -1 : choice.error * choice.error});
    }
    const auto chosen = choose(options, squared_budget);
    candidate made;
    for (std::size_t n = 0; n < chosen.size(); ++n) {
      if (chosen[n] == keep) continue;
      const auto& choice = result_.nodes[n].choices[chosen[n]];
      made.choices[result_.nodes[n].name] = choice.choice;
      made.gain += choice.gain;
    }
    return made;
  }

  /// The most that is within the budget end to end: what the knapsack may spend is corrected by what its plan is found
  /// to cost, since errors of nodes neither add up exactly nor weigh the same on all samples.
  expected<void> find_plan() {
    std::optional<candidate> best;
    double best_error = 0;
    double allowed = how_.budget * how_.budget;
    for (int round = 0; round < 6; ++round) {
      how_.progress("the plan as a whole", round / 8.0);
      auto next = solve(allowed);
      if (next.choices.empty()) break;
      const auto error = model_.error(next.choices, model_.samples());
      if (!error) return tl::unexpected(error.error());
      const bool is_within = *error <= how_.budget;
      if (is_within && (!best || next.gain > best->gain)) {
        best = next;
        best_error = *error;
      }
      if (is_within && *error > 0.9 * how_.budget) break;
      const double correction = how_.budget / std::max(*error, how_.budget / 4);
      allowed *= correction * correction * (is_within ? 1.0 : 0.95);
      if (elapsed() > how_.seconds * 0.95 && best) break;
    }
    if (!best) {
      bool gains = false;
      for (const auto& node : result_.nodes)
        for (const auto& choice : node.choices) gains = gains || choice.gain > 0;
      result_.verdict = gains ? "fp32: nothing that is faster stays within an error of " + percent(how_.budget)
                              : "fp32: no node is faster in other numbers";
      return {};
    }
    how_.progress("the plan as a whole", 0.8);
    const auto speedup = speedup_of(best->choices);
    if (!speedup) return tl::unexpected(speedup.error());
    if (*speedup < 1 + least_gain) {
      result_.verdict = "fp32: the best plan is " + times(*speedup) + " times as fast, which is nothing";
      return {};
    }
    result_.plan.nodes = best->choices;
    if (auto noted = note_reach(result_.plan); !noted) return tl::unexpected(noted.error());
    result_.plan.speedup = *speedup;
    result_.plan.error = best_error;
    result_.verdict = times(*speedup) + " times as fast as fp32 with an error of " + percent(best_error) + " (budget " +
                      percent(how_.budget) + ")";
    if (unmeasured_ > 0)
      result_.verdict += "; " + std::to_string(unmeasured_) + " nodes stayed in fp32, since the time was over";
    return {};
  }

  /// What workers watch the inputs of int8 nodes by.
  expected<void> note_reach(precision_plan& plan) {
    const auto seen = model_.reach(plan.nodes);
    if (!seen) return tl::unexpected(seen.error());
    for (const auto& [name, reach] : *seen) {
      const auto node = plan.nodes.find(name);
      if (node == plan.nodes.end()) continue;
      node->second.reach = std::max(node->second.reach, reach.range);
      node->second.saturation = std::max(node->second.saturation, reach.saturation);
    }
    return {};
  }

  /// Geometric mean over the timed shapes.
  expected<double> speedup_of(const node_choices& choices) {
    const auto measured = model_.time({{}, choices}, timed_, std::max(1.0, how_.seconds * 0.05));
    if (!measured) return tl::unexpected(measured.error());
    double logarithms = 0;
    for (std::size_t s = 0; s < timed_.size(); ++s)
      logarithms += std::log((*measured)[0][s].whole / (*measured)[1][s].whole);
    return std::exp(logarithms / static_cast<double>(timed_.size()));
  }

  /// The speed and error of a plan as a whole.
  expected<precision_plan> measured(precision_plan plan) {
    const auto error = model_.error(plan.nodes, model_.samples());
    if (!error) return tl::unexpected(error.error());
    const auto speedup = speedup_of(plan.nodes);
    if (!speedup) return tl::unexpected(speedup.error());
    if (auto noted = note_reach(plan); !noted) return tl::unexpected(noted.error());
    plan.error = *error;
    plan.speedup = *speedup;
    return plan;
  }

  /// What is measured beside the plan ends where it has taken half as long again.
  [[nodiscard]] bool is_over() const { return elapsed() > how_.seconds * 1.5; }

  expected<void> draw_curve() {
    auto plain = result_.plan;
    plain.nodes.clear();
    plain.speedup = 1;
    plain.error = 0;
    plain.budget = 0;
    result_.curve.push_back(plain);
    for (const auto& [policy, choices] : {std::pair{"bf16", all_in(as::bf16)}, std::pair{"rule", by_rule()}}) {
      if (is_over()) return {};
      how_.progress("other policies", 0);
      auto plan = plain;
      plan.policy = policy;
      plan.nodes = choices;
      auto found = measured(std::move(plan));
      if (!found) return tl::unexpected(found.error());
      result_.policies.push_back(*std::move(found));
    }
    std::string last = plain.epoch();
    const std::vector<double> shares{0.1, 0.25, 0.5, 1, 2, 4, 16};
    for (std::size_t i = 0; i < shares.size(); ++i) {
      if (is_over()) break;
      how_.progress("other budgets", static_cast<double>(i) / static_cast<double>(shares.size()));
      auto point = plain;
      point.budget = how_.budget * shares[i];
      point.nodes = solve(point.budget * point.budget).choices;
      if (point.epoch() == last) continue;
      last = point.epoch();
      auto found = measured(std::move(point));
      if (!found) return tl::unexpected(found.error());
      result_.curve.push_back(*std::move(found));
    }
    std::stable_sort(result_.curve.begin(), result_.curve.end(),
                     [](const auto& a, const auto& b) { return a.error < b.error; });
    return {};
  }

  laboratory& model_;
  const planning& how_;
  double begin_;
  std::vector<std::size_t> timed_;  ///< samples
  std::size_t unmeasured_ = 0;
  planning_result result_;
};

}  // namespace

namespace {

expected<std::unique_ptr<laboratory>> open(const std::filesystem::path& archive, const planning& how) {
  if (!(how.budget > 0) || !(how.budget < 1))
    return fail(errc::invalid_argument, "the budget must be a share between 0 and 1, such as 0.03");
  if (how.policy != "measured" && how.policy != "bf16" && how.policy != "rule")
    return fail(errc::invalid_argument, "the policy \"" + how.policy + "\" is not known: measured, bf16 or rule");
  return laboratory::open(archive, how.on, how.own_kernels, how.is_wanted);
}

}  // namespace

expected<planning_result> plan_precision(const std::filesystem::path& archive, const planning& how) {
  auto model = open(archive, how);
  if (!model) return tl::unexpected(model.error());
  return planner(**model, how).run();
}

expected<planning_result> mend_plan(const std::filesystem::path& archive, const precision_plan& plan,
                                    const planning& how) {
  auto model = open(archive, how);
  if (!model) return tl::unexpected(model.error());
  if (plan.model != (*model)->model()) return fail(errc::incompatible, "the plan to be mended is for another archive");
  return planner(**model, how).mend(plan);
}

}  // namespace shoal::precision
