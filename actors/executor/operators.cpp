#include "executor/operators.hpp"

#include <algorithm>
#include <array>

namespace shoal::executor {

namespace {

constexpr std::string_view prefix = "torch.ops.aten.";

// Sorted, for binary search; the static_assert below keeps it so. By names without overload.
constexpr auto allowed = std::to_array<std::string_view>({
// clang-format off
#include "executor/allowed_operators.inc"
    // clang-format on
});
static_assert(std::is_sorted(allowed.begin(), allowed.end()), "allowed_operators.inc must be sorted");

/// Overloads that are refused although their name is allowed: their results' sizes come from the values of a tensor.
constexpr auto refused_overloads = std::to_array<std::string_view>({
    "torch.ops.aten.repeat_interleave.Tensor",
    "torch.ops.aten.repeat_interleave.self_Tensor",
});

/// Arguments that must have one value, or be absent: others would train, draw random numbers or write to a weight.
struct rule {
  std::string_view name;
  std::string_view parameter;
  bool may_be_absent;
  std::string_view why;
  bool (*holds)(const argument&);
};

bool is_false(const argument& value) {
  const auto* flag = std::get_if<bool>(&value);
  return flag != nullptr && !*flag;
}
bool is_zero(const argument& value) {
  if (const auto* number = std::get_if<double>(&value)) return *number == 0;
  const auto* integer = std::get_if<std::int64_t>(&value);
  return integer != nullptr && *integer == 0;
}
bool is_none(const argument& value) { return std::holds_alternative<std::monostate>(value); }
bool is_positive(const argument& value) {
  const auto* number = std::get_if<std::int64_t>(&value);
  return number != nullptr && *number > 0;
}

constexpr std::string_view training = "the model was exported in training mode: call eval() before torch.export.export";
constexpr auto rules = std::to_array<rule>({
    {"alpha_dropout", "train", false, training, is_false},
    {"batch_norm", "training", false, training, is_false},
    {"dropout", "train", false, training, is_false},
    {"dropout_", "train", false, training, is_false},
    {"feature_alpha_dropout", "train", false, training, is_false},
    {"feature_dropout", "train", false, training, is_false},
    {"gru", "train", false, training, is_false},
    {"instance_norm", "running_mean", true, "it would update its running statistics", is_none},
    {"lstm", "train", false, training, is_false},
    {"one_hot", "num_classes", false, "its size would come from the values of its input: give num_classes",
     is_positive},
    {"rnn_relu", "train", false, training, is_false},
    {"rnn_tanh", "train", false, training, is_false},
    {"scaled_dot_product_attention", "dropout_p", true, training, is_zero},
});

tl::unexpected<error> refused(const node& candidate, std::string_view why) {
  return fail(errc::unsupported,
              "the node " + candidate.name + " (" + candidate.target + ") cannot be run: " + std::string(why));
}

}  // namespace

std::optional<operator_name> parse_operator(std::string_view target) {
  constexpr std::string_view any = "torch.ops.";
  if (!target.starts_with(any)) return std::nullopt;
  target.remove_prefix(any.size());
  const auto space = target.find('.');
  const auto name = space == std::string_view::npos ? space : target.find('.', space + 1);
  if (name == std::string_view::npos) return std::nullopt;
  const auto overload = target.substr(name + 1);
  return operator_name{
      std::string(target.substr(0, space)) + "::" + std::string(target.substr(space + 1, name - space - 1)),
      overload == "default" ? "" : std::string(overload)};
}

std::string_view aten_name(std::string_view target) {
  if (!target.starts_with(prefix)) return {};
  target.remove_prefix(prefix.size());
  const auto dot = target.find('.');
  return dot == std::string_view::npos ? std::string_view() : target.substr(0, dot);
}

bool writes_in_place(std::string_view target) {
  const auto name = aten_name(target);
  return name.ends_with('_') && !name.ends_with("__");
}

expected<void> check_allowed(const node& candidate) {
  const auto name = aten_name(candidate.target);
  if (!std::binary_search(allowed.begin(), allowed.end(), name) ||
      std::find(refused_overloads.begin(), refused_overloads.end(), candidate.target) != refused_overloads.end())
    return refused(candidate, "the operator is not on Shoal's allow-list");
  for (const auto& each : rules) {
    if (each.name != name) continue;
    const auto given = std::find_if(candidate.inputs.begin(), candidate.inputs.end(),
                                    [&](const auto& input) { return input.name == each.parameter; });
    const bool holds = given == candidate.inputs.end() ? each.may_be_absent : each.holds(given->value);
    if (!holds) return refused(candidate, each.why);
  }
  return {};
}

}  // namespace shoal::executor
