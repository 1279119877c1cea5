#include "executor/signature.hpp"

#include <algorithm>

namespace shoal::executor {

namespace {

constexpr auto largest = std::numeric_limits<std::int64_t>::max();

symbol_range range_of(const graph& from, const std::string& symbol) {
  const auto found = from.symbols.find(symbol);
  return found == from.symbols.end() ? symbol_range{} : found->second;
}

std::int64_t apply(const size_expression& size, std::int64_t symbol) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(size.scale, symbol, &result) || __builtin_add_overflow(result, size.offset, &result))
    return largest;
  return std::max<std::int64_t>(0, result);
}

protocol::dimension describe(const graph& from, const size_expression& size) {
  if (size.is_fixed()) return protocol::dimension::fixed(size.offset);
  if (!size.linear) return {};
  const auto range = range_of(from, size.symbol);
  if (size.scale == 1 && size.offset == 0) return {range.min, range.max, size.symbol};
  const auto [min, max] = std::minmax({apply(size, range.min), apply(size, range.max)});
  return {min, max, {}};
}

bool is_symbol(const size_expression& size, const std::string& symbol) {
  return size.linear && size.symbol == symbol && size.scale == 1 && size.offset == 0;
}

bool mentions(const size_expression& size, const std::string& symbol) {
  return size.linear ? size.symbol == symbol : size.text.find("'" + symbol + "'") != std::string::npos;
}

tl::unexpected<error> invalid(const std::string& input, const std::string& what) {
  return fail(errc::invalid_argument, "the input " + input + " " + what);
}

}  // namespace

std::optional<dtype> carried_type(archive_dtype type) noexcept {
  switch (type.code) {  // torch/_export/serde/schema.py: ScalarType
    case 1: return dtype::uint8;
    case 2: return dtype::int8;
    case 3: return dtype::int16;
    case 4: return dtype::int32;
    case 5: return dtype::int64;
    case 6: return dtype::fp16;
    case 7: return dtype::fp32;
    case 8: return dtype::fp64;
    case 12: return dtype::boolean;
    case 13: return dtype::bf16;
    case 28: return dtype::uint16;
    default: return std::nullopt;
  }
}

expected<signature> signature::read(const graph& from) {
  std::vector<refused_part> refused;
  auto result = read_all(from, refused);
  if (!refused.empty()) return tl::unexpected(refused.front().reason);
  return result;
}

signature signature::read_all(const graph& from, std::vector<refused_part>& refused) {
  signature result;
  const auto before = refused.size();
  for (const auto& input : from.inputs)
    if (auto added = result.add_input(from, input); !added) refused.push_back({{}, {}, added.error()});
  for (const auto& output : from.outputs)
    if (auto added = result.add_output(from, output); !added) refused.push_back({{}, {}, added.error()});
  if (refused.size() == before) result.spec_.batch_symbol = result.find_batch_symbol(from);
  return result;
}

expected<void> signature::add_input(const graph& from, const named_value& input) {
  const auto& meta = from.values[input.id].meta;
  if (!meta) return fail(errc::corrupt, "the archive does not describe the input " + input.name);
  const auto type = carried_type(meta->type);
  if (!type)
    return fail(errc::unsupported, "the input " + input.name +
                                       " has an element type that does not travel (ScalarType " +
                                       std::to_string(meta->type.code) + ")");
  if (meta->sizes.size() > max_rank)
    return fail(errc::unsupported,
                "the input " + input.name + " has more than " + std::to_string(max_rank) + " dimensions");
  protocol::tensor_spec spec{input.name, *type, {}, 0};
  auto& rules = rules_.emplace_back();
  for (const auto& size : meta->sizes) {
    if (!size.linear || size.scale < 0 || (size.is_fixed() && size.offset < 0))
      return fail(errc::unsupported, "dimension " + std::to_string(spec.dims.size()) + " of the input " + input.name +
                                         " is not a number or a multiple of one symbol: export it with another "
                                         "dynamic shape");
    spec.dims.push_back(describe(from, size));
    rule checked;
    checked.offset = size.offset;
    if (!size.is_fixed()) {
      const auto known = std::find(symbols_.begin(), symbols_.end(), size.symbol);
      checked.symbol = static_cast<int>(known - symbols_.begin());
      if (known == symbols_.end()) symbols_.push_back(size.symbol);
      checked.scale = size.scale;
      const auto range = range_of(from, size.symbol);
      checked.min = range.min;
      checked.max = range.max;
    }
    rules.push_back(checked);
  }
  spec_.inputs.push_back(std::move(spec));
  return {};
}

expected<void> signature::add_output(const graph& from, const named_value& output) {
  const auto& meta = from.values[output.id].meta;
  if (!meta) return fail(errc::corrupt, "the archive does not describe the output " + output.name);
  const auto type = carried_type(meta->type);
  if (!type)
    return fail(errc::unsupported, "the output " + output.name +
                                       " has an element type that does not travel (ScalarType " +
                                       std::to_string(meta->type.code) + ")");
  protocol::tensor_spec spec{output.name, *type, {}, 0};
  for (const auto& size : meta->sizes) spec.dims.push_back(describe(from, size));
  spec_.outputs.push_back(std::move(spec));
  return {};
}

std::string signature::find_batch_symbol(const graph& from) {
  const auto because = [&](std::string why) {
    why_not_joined_ = std::move(why);
    return std::string();
  };
  if (from.inputs.empty() || from.outputs.empty()) return because("the model has no inputs or no outputs");
  const auto first_input = "the first input, " + from.inputs[0].name + ",";
  const auto& first = from.values[from.inputs[0].id].meta->sizes;
  if (first.empty()) return because(first_input + " has no dimensions");
  auto symbol = first[0].symbol;
  const auto range = range_of(from, symbol);
  if (symbol.empty() || range.min == range.max)
    return because("the first dimension of " + first_input + " is fixed: export it with a dynamic one");
  for (const auto* group : {&from.inputs, &from.outputs})
    for (const auto& each : *group) {
      const auto name = (group == &from.inputs ? "the input " : "the output ") + each.name;
      const auto& sizes = from.values[each.id].meta->sizes;
      if (sizes.empty() || !is_symbol(sizes[0], symbol))
        return because(name + " does not have " + symbol + " as its first dimension");
      if (std::any_of(sizes.begin() + 1, sizes.end(), [&](const auto& size) { return mentions(size, symbol); }))
        return because(name + " has " + symbol + " in another dimension than its first as well");
    }
  return symbol;
}

expected<void> signature::check(std::span<const tensor> inputs) const {
  if (inputs.size() != spec_.inputs.size())
    return fail(errc::invalid_argument, "the model takes " + std::to_string(spec_.inputs.size()) + " inputs, " +
                                            std::to_string(inputs.size()) + " were given");
  std::vector<std::int64_t> symbols(symbols_.size(), -1);
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (auto checked = check_input(i, inputs[i], symbols); !checked) return checked;
  return {};
}

expected<void> signature::check_input(std::size_t index, const tensor& given,
                                      std::vector<std::int64_t>& symbols) const {
  const auto& wanted = spec_.inputs[index];
  if (given.type != wanted.type)
    return invalid(wanted.name,
                   "is " + std::string(name_of(given.type)) + ", the model takes " + std::string(name_of(wanted.type)));
  const auto& rules = rules_[index];
  if (given.dims.size() != rules.size())
    return invalid(wanted.name, "has " + std::to_string(given.dims.size()) + " dimensions, the model takes " +
                                    std::to_string(rules.size()));
  for (std::size_t d = 0; d < rules.size(); ++d) {
    const auto& rule = rules[d];
    const auto size = given.dims[d];
    const auto where = [&] { return "has size " + std::to_string(size) + " in dimension " + std::to_string(d); };
    if (rule.symbol < 0) {
      if (size != rule.offset)
        return invalid(wanted.name, where() + ", the model takes " + std::to_string(rule.offset));
      continue;
    }
    std::int64_t scaled = 0;
    const bool fits = size >= 0 && !__builtin_sub_overflow(size, rule.offset, &scaled) && scaled % rule.scale == 0;
    const auto value = scaled / rule.scale;
    if (!fits || value < rule.min || value > rule.max) {
      const auto& range = wanted.dims[d];
      return invalid(wanted.name, where() + ", the model takes " + std::to_string(range.min) + " to " +
                                      std::to_string(range.max) +
                                      (rule.scale == 1 ? "" : " in steps of " + std::to_string(rule.scale)));
    }
    auto& known = symbols[static_cast<std::size_t>(rule.symbol)];
    if (known >= 0 && known != value)
      return invalid(wanted.name, where() + ", which does not fit the other inputs: dimensions named " +
                                      symbols_[static_cast<std::size_t>(rule.symbol)] + " must be equal");
    known = value;
  }
  const auto bytes = byte_size(given.type, given.dims);
  if (!bytes) return tl::unexpected(bytes.error());
  if (*bytes != given.data.size())
    return invalid(wanted.name, "has " + std::to_string(given.data.size()) + " bytes, its shape " +
                                    to_string(given.dims) + " needs " + std::to_string(*bytes));
  return {};
}

}  // namespace shoal::executor
