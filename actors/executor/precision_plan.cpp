#include "executor/precision_plan.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <fstream>
#include <iterator>
#include <utility>

#include "executor/json_access.hpp"
#include "executor/whole_file.hpp"
#include "protocol/object_key.hpp"

namespace shoal::executor {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t format = 1;
constexpr std::uintmax_t largest_plan = 16ull << 20;
constexpr std::size_t most_nodes = 1 << 20;
constexpr std::size_t longest_policy = 64;

constexpr std::array<std::pair<precision, std::string_view>, 5> names{{{precision::fp32, "fp32"},
                                                                       {precision::bf16, "bf16"},
                                                                       {precision::fp16, "fp16"},
                                                                       {precision::int8, "int8"},
                                                                       {precision::int8_weight, "int8_weight"}}};

constexpr std::array<std::pair<calibration, std::string_view>, 3> calibrations{
    {{calibration::seeded, "seeded"}, {calibration::traffic, "traffic"}, {calibration::data, "data"}}};
constexpr std::array<std::string_view, 8> keys_of_plan{"shoal_plan", "model",         "device",   "policy",
                                                       "nodes",      "calibrated_on", "measured", "generation"};
constexpr std::array<std::string_view, 6> keys_of_node{"precision",   "smoothing", "clip",
                                                       "input_range", "reach",     "saturation"};
constexpr std::array<std::string_view, 3> keys_of_measured{"speedup", "error", "budget"};
constexpr std::int64_t most_generations = 1ll << 53;

const json& object_of(const json& from, const std::string& where) {
  if (!from.is_object()) refuse(errc::corrupt, where + " is not an object");
  return from;
}

json to_json(const std::map<std::string, node_precision>& nodes, bool with_measured) {
  json made = json::object();
  for (const auto& [name, node] : nodes) {
    if (node.as == precision::fp32) continue;
    json entry{{"precision", name_of(node.as)}};
    if (!node.smoothing.empty()) entry["smoothing"] = node.smoothing;
    if (node.clip) entry["clip"] = true;
    if (node.input_range) entry["input_range"] = {node.input_range->least, node.input_range->most};
    if (with_measured && node.reach > 0) entry["reach"] = node.reach;
    if (with_measured && node.saturation > 0) entry["saturation"] = node.saturation;
    made[name] = std::move(entry);
  }
  return made;
}

value_range read_range(const json& from, const std::string& where) {
  const auto& ends = array_at(from, "input_range", where);
  if (ends.size() != 2) refuse(errc::corrupt, where + " has an input_range that is not [least, most]");
  const value_range range{as_real(ends[0], where), as_real(ends[1], where)};
  // Written so that what is not a number is refused.
  const bool is_range = range.least >= -largest_range && range.least <= 0 && range.most >= 0 &&
                        range.most <= largest_range && range.most - range.least >= 1e-30;
  if (!is_range) refuse(errc::corrupt, where + " has an input_range that is empty, without 0 or too large");
  return range;
}

node_precision read_node(const json& from, const std::string& where) {
  check_keys(object_of(from, where), keys_of_node, where);
  node_precision node;
  const auto& name = string_at(from, "precision", where);
  const auto as = parse_precision(name);
  if (!as)
    refuse(errc::corrupt,
           where + " has the precision \"" + name + "\": it must be fp32, bf16, fp16, int8 or int8_weight");
  node.as = *as;
  if (from.contains("clip")) node.clip = boolean_at(from, "clip", where);
  if (from.contains("smoothing"))
    for (const auto& step : array_at(from, "smoothing", where)) {
      node.smoothing.push_back(as_integer(step, where));
      if (node.smoothing.back() > most_smoothing || node.smoothing.back() < -most_smoothing)
        refuse(errc::corrupt, where + " has smoothing beyond " + std::to_string(most_smoothing));
    }
  if (!node.smoothing.empty() && node.as != precision::int8)
    refuse(errc::corrupt, where + " has smoothing, which is for int8 alone");
  if (from.contains("input_range")) node.input_range = read_range(from, where);
  if (node.input_range && node.as != precision::int8)
    refuse(errc::corrupt, where + " has an input_range, which is for int8 alone");
  return node;
}

double measured_at(const json& from, const char* key, const std::string& where) {
  const double value = from.contains(key) ? as_real(from.at(key), where) : 0;
  if (!std::isfinite(value) || value < 0) refuse(errc::corrupt, where + " has a " + key + " that was not measured");
  if (std::string_view(key) == "budget" && value >= 1)
    refuse(errc::corrupt, where + " has a budget that is no share: it must be below 1");
  return value;
}

}  // namespace

std::string_view name_of(precision which) noexcept {
  for (const auto& [value, name] : names)
    if (value == which) return name;
  return "fp32";
}

std::optional<precision> parse_precision(std::string_view name) noexcept {
  for (const auto& [value, known] : names)
    if (known == name) return value;
  return std::nullopt;
}

std::string_view name_of(calibration which) noexcept {
  for (const auto& [value, name] : calibrations)
    if (value == which) return name;
  return "data";
}

bool supersedes(const precision_plan& a, const precision_plan& b) {
  if (&a == &b) return false;
  if (a.generation != b.generation) return a.generation > b.generation;
  return a.epoch() > b.epoch();
}

bool precision_plan::is_fp32() const noexcept {
  return std::all_of(nodes.begin(), nodes.end(), [](const auto& each) { return each.second.as == precision::fp32; });
}

std::string precision_plan::epoch() const {
  if (is_fp32()) return "fp32";
  const auto text = to_json(nodes, false).dump();
  return to_hex(protocol::key_of(std::as_bytes(std::span(text)))).substr(0, 12);
}

expected<precision_plan> parse_plan(std::string_view text, const std::string& where) {
  try {
    const auto whole = parse_written_json(text, where);
    check_keys(object_of(whole, where), keys_of_plan, where);
    if (integer_at(whole, "shoal_plan", where) != format)
      return fail(errc::incompatible, where + " has another format than this version's plans");
    precision_plan plan;
    plan.model = string_at(whole, "model", where);
    plan.device = string_at(whole, "device", where);
    plan.policy = string_at(whole, "policy", where);
    if (plan.policy.size() > longest_policy)
      return fail(errc::corrupt, where + " has a policy whose name is longer than " + std::to_string(longest_policy));
    const auto& nodes = object_at(whole, "nodes", where);
    if (nodes.size() > most_nodes) return fail(errc::corrupt, where + " has more nodes than any model");
    for (const auto& [name, node] : nodes.items()) {
      const auto at = where + ", node " + name + ",";
      auto& read = plan.nodes[name] = read_node(node, at);
      read.reach = measured_at(node, "reach", at);
      read.saturation = measured_at(node, "saturation", at);
    }
    if (whole.contains("measured")) {
      const auto& measured = object_at(whole, "measured", where);
      check_keys(measured, keys_of_measured, where);
      plan.speedup = measured_at(measured, "speedup", where);
      plan.error = measured_at(measured, "error", where);
      plan.budget = measured_at(measured, "budget", where);
    }
    if (whole.contains("calibrated_on")) {
      const auto& name = string_at(whole, "calibrated_on", where);
      const auto known =
          std::find_if(calibrations.begin(), calibrations.end(), [&](const auto& each) { return each.second == name; });
      if (known == calibrations.end())
        return fail(errc::corrupt, where + " is calibrated_on \"" + name + "\": it must be seeded, traffic or data");
      plan.calibrated_on = known->first;
    }
    if (whole.contains("generation")) {
      const auto generation = integer_at(whole, "generation", where);
      if (generation < 0 || generation > most_generations)
        return fail(errc::corrupt, where + " has a generation beyond any count");
      plan.generation = static_cast<std::uint64_t>(generation);
    }
    return plan;
  } catch (const refusal& wrong) {
    return tl::unexpected(explained(wrong, "correct it, or make the plan again (shoal tune)"));
  }
}

std::string to_text(const precision_plan& plan) {
  const json whole{{"shoal_plan", format},
                   {"model", plan.model},
                   {"device", plan.device},
                   {"policy", plan.policy},
                   {"nodes", to_json(plan.nodes, true)},
                   {"measured", {{"speedup", plan.speedup}, {"error", plan.error}, {"budget", plan.budget}}},
                   {"calibrated_on", name_of(plan.calibrated_on)},
                   {"generation", plan.generation}};
  // Names of devices come from strangers, too.
  return whole.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

expected<precision_plan> read_plan(const fs::path& file) {
  const auto where = file.string();
  std::error_code problem;
  const auto size = fs::file_size(file, problem);
  if (problem == std::errc::no_such_file_or_directory) return fail(errc::not_found, "there is no plan " + where);
  if (problem) return fail(errc::unavailable, "the plan " + where + " cannot be read: " + problem.message());
  if (size > largest_plan) return fail(errc::corrupt, where + " is larger than any plan");
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (!stream && text.empty()) return fail(errc::unavailable, "cannot read " + where);
  return parse_plan(text, where);
}

expected<void> write_plan(const fs::path& file, const precision_plan& plan) {
  return write_whole(file, to_text(plan), true);
}

fs::path plan_path(const fs::path& archive, std::string_view signature) {
  std::string letters;
  for (const auto each : signature)
    if (std::isalnum(static_cast<unsigned char>(each)) != 0 || each == '_')
      letters += each;
    else if (!letters.empty() && letters.back() != '-')
      letters += '-';
  return archive.parent_path() / ("plan." + letters + ".json");
}

}  // namespace shoal::executor
