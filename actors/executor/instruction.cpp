#include "executor/instruction.hpp"

#include <algorithm>

#include <ATen/ScalarOps.h>
#include <ATen/core/List.h>
#include <ATen/core/jit_type.h>

#include "executor/operators.hpp"
#include "executor/torch_types.hpp"

namespace shoal::executor {

namespace {

using c10::TypeKind;
using form = argument_source::form;

/// What an argument of an operator accepts, from its schema's type.
struct parameter {
  TypeKind kind = TypeKind::AnyType;
  bool optional = false;
  TypeKind element = TypeKind::AnyType;  ///< of lists
  bool optional_element = false;
  std::optional<std::int32_t> fixed_length;  ///< int[2]: a single number stands for all
};

TypeKind plain(TypeKind kind) { return kind == TypeKind::SymIntType ? TypeKind::IntType : kind; }

parameter describe(const c10::Argument& argument) {
  parameter result;
  auto type = argument.type();
  if (type->kind() == TypeKind::OptionalType) {
    result.optional = true;
    type = type->castRaw<c10::OptionalType>()->getElementType();
  }
  result.kind = plain(type->kind());
  result.fixed_length = argument.N();
  if (result.kind == TypeKind::ListType) {
    auto element = type->castRaw<c10::ListType>()->getElementType();
    if (element->kind() == TypeKind::OptionalType) {
      result.optional_element = true;
      element = element->castRaw<c10::OptionalType>()->getElementType();
    }
    result.element = plain(element->kind());
  }
  return result;
}

/// The tensor that PyTorch makes of a Python number where an operator takes a tensor: its type yields to the others'.
at::Tensor wrapped(const c10::Scalar& number) {
  auto tensor = c10::scalar_to_tensor(number);
  tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
  return tensor;
}

class binder {
 public:
  binder(const node& from, const graph& in, const known_values& known, c10::Device device)
      : node_(from), graph_(in), known_(known), device_(device) {}

  expected<argument_source> bind(const argument& given, const parameter& wanted, const std::string& name) const {
    auto bound = std::visit([&](const auto& value) { return bind_value(value, wanted); }, given);
    if (!bound) return wrong("its argument " + name + " is not what the operator's schema takes");
    return *std::move(bound);
  }

  [[nodiscard]] tl::unexpected<error> wrong(const std::string& what) const {
    return fail(errc::unsupported, "the node " + node_.name + " (" + node_.target + ") cannot be run: " + what);
  }

 private:
  using bound = std::optional<argument_source>;

  static argument_source constant(c10::IValue value) {
    argument_source made;
    made.constant = std::move(value);
    return made;
  }

  static argument_source from_slot(form how, value_id slot) {
    argument_source made;
    made.how = how;
    made.slot = slot;
    return made;
  }

  bound bind_value(std::monostate, const parameter& wanted) const {
    if (wanted.optional) return constant(c10::IValue());
    return std::nullopt;
  }

  bound bind_value(std::int64_t value, const parameter& wanted) const {
    switch (wanted.kind) {
      case TypeKind::IntType:
      case TypeKind::NumberType: return constant(value);
      case TypeKind::FloatType: return constant(static_cast<double>(value));
      case TypeKind::TensorType: return constant(wrapped(value));
      case TypeKind::ListType:
        if (!wanted.fixed_length) return std::nullopt;
        return bind_value(item_list{std::vector<item>(static_cast<std::size_t>(*wanted.fixed_length), value)}, wanted);
      default: return std::nullopt;
    }
  }

  bound bind_value(double value, const parameter& wanted) const {
    switch (wanted.kind) {
      case TypeKind::FloatType:
      case TypeKind::NumberType: return constant(value);
      case TypeKind::TensorType: return constant(wrapped(value));
      default: return std::nullopt;
    }
  }

  bound bind_value(bool value, const parameter& wanted) const {
    switch (wanted.kind) {
      case TypeKind::BoolType:
      case TypeKind::NumberType: return constant(value);
      case TypeKind::IntType: return constant(static_cast<std::int64_t>(value));
      case TypeKind::TensorType: return constant(wrapped(value));
      default: return std::nullopt;
    }
  }

  bound bind_value(const std::string& value, const parameter& wanted) const {
    if (wanted.kind != TypeKind::StringType) return std::nullopt;
    return constant(value);
  }

  bound bind_value(archive_dtype value, const parameter& wanted) const {
    const auto type = scalar_type(value);
    if (!type || wanted.kind != TypeKind::IntType) return std::nullopt;
    return constant(static_cast<std::int64_t>(*type));
  }

  bound bind_value(archive_layout value, const parameter& wanted) const {
    const auto known = layout(value);
    if (!known || wanted.kind != TypeKind::IntType) return std::nullopt;
    return constant(static_cast<std::int64_t>(*known));
  }

  bound bind_value(archive_memory_format value, const parameter& wanted) const {
    const auto known = memory_format(value);
    if (!known || wanted.kind != TypeKind::IntType) return std::nullopt;
    return constant(static_cast<std::int64_t>(*known));
  }

  bound bind_value(const archive_device& value, const parameter& wanted) const {
    if (value.type != "cpu" || wanted.kind != TypeKind::DeviceObjType) return std::nullopt;
    return constant(device_);
  }

  bound bind_value(reference value, const parameter& wanted) const {
    if (!known_[value.id].isNone()) return bind_known(known_[value.id], wanted);
    const auto kind = graph_.values[value.id].kind;
    const auto copied = from_slot(form::copied, value.id);
    switch (wanted.kind) {
      case TypeKind::TensorType: return kind == value_kind::tensor ? copied : from_slot(form::wrapped_number, value.id);
      case TypeKind::NumberType: return kind == value_kind::tensor ? bound() : copied;
      case TypeKind::IntType: return kind == value_kind::integer ? copied : bound();
      case TypeKind::BoolType: return kind == value_kind::boolean ? copied : bound();
      case TypeKind::FloatType:
        if (kind == value_kind::integer) return from_slot(form::real, value.id);
        return kind == value_kind::real ? copied : bound();
      default: return std::nullopt;
    }
  }

  bound bind_known(const c10::IValue& value, const parameter& wanted) const {
    if (value.isInt()) return bind_value(value.toInt(), wanted);
    if (value.isDouble()) return bind_value(value.toDouble(), wanted);
    if (value.isBool()) return bind_value(value.toBool(), wanted);
    if (value.isTensor() && wanted.kind == TypeKind::TensorType) return constant(value);
    return std::nullopt;
  }

  bound bind_value(const item_list& list, const parameter& wanted) const {
    if (wanted.kind != TypeKind::ListType) return std::nullopt;
    switch (wanted.element) {
      case TypeKind::IntType: return bind_numbers<std::int64_t>(list, form::integers, value_kind::integer);
      case TypeKind::FloatType: return bind_numbers<double>(list, form::reals, value_kind::real);
      case TypeKind::BoolType: return bind_booleans(list);
      case TypeKind::TensorType: return bind_tensors(list, wanted.optional_element);
      default: return std::nullopt;
    }
  }

  template <class Number>
  static std::optional<Number> number(const c10::IValue& value) {
    if (value.isInt()) return static_cast<Number>(value.toInt());
    if constexpr (std::is_floating_point_v<Number>)
      if (value.isDouble()) return value.toDouble();
    return std::nullopt;
  }

  template <class Number>
  static std::optional<Number> number(const item& element) {
    if (const auto* value = std::get_if<std::int64_t>(&element)) return static_cast<Number>(*value);
    if constexpr (std::is_floating_point_v<Number>)
      if (const auto* value = std::get_if<double>(&element)) return *value;
    return std::nullopt;
  }

  template <class Number>
  bound bind_numbers(const item_list& list, form how, value_kind kind) const {
    c10::List<Number> numbers;
    argument_source made;
    made.slots.assign(list.items.size(), no_value);
    bool dynamic = false;
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      auto value = number<Number>(list.items[i]);
      if (const auto* from = std::get_if<reference>(&list.items[i])) {
        if (!known_[from->id].isNone()) {
          value = number<Number>(known_[from->id]);
        } else {
          if (graph_.values[from->id].kind != kind) return std::nullopt;
          made.slots[i] = from->id;
          dynamic = true;
          value = 0;
        }
      }
      if (!value) return std::nullopt;
      numbers.push_back(*value);
    }
    made.how = dynamic ? how : form::constant;
    made.constant = std::move(numbers);
    return made;
  }

  static bound bind_booleans(const item_list& list) {
    c10::List<bool> booleans;
    for (const auto& element : list.items) {
      const auto* value = std::get_if<bool>(&element);
      if (value == nullptr) return std::nullopt;
      booleans.push_back(*value);
    }
    return constant(std::move(booleans));
  }

  bound bind_tensors(const item_list& list, bool optional) const {
    c10::List<at::Tensor> tensors;
    c10::List<std::optional<at::Tensor>> optional_tensors;
    argument_source made;
    made.slots.assign(list.items.size(), no_value);
    bool dynamic = false;
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      std::optional<at::Tensor> element;
      if (const auto* from = std::get_if<reference>(&list.items[i])) {
        const auto& known = known_[from->id];
        if (graph_.values[from->id].kind != value_kind::tensor || (!known.isNone() && !known.isTensor()))
          return std::nullopt;
        if (known.isTensor()) {
          element = known.toTensor();
        } else {
          made.slots[i] = from->id;
          dynamic = true;
        }
      } else if (!optional || !std::holds_alternative<std::monostate>(list.items[i])) {
        return std::nullopt;
      }
      if (optional)
        optional_tensors.push_back(element);
      else
        tensors.push_back(element.value_or(at::Tensor()));
    }
    if (optional)
      made.constant = std::move(optional_tensors);
    else
      made.constant = std::move(tensors);
    made.how = !dynamic ? form::constant : optional ? form::optional_tensors : form::tensors;
    return made;
  }

  const node& node_;
  const graph& graph_;
  const known_values& known_;
  c10::Device device_;
};

bool takes_tensors(const c10::FunctionSchema& schema) {
  return std::any_of(schema.arguments().begin(), schema.arguments().end(), [](const c10::Argument& each) {
    const auto wanted = describe(each);
    return wanted.kind == TypeKind::TensorType || wanted.element == TypeKind::TensorType;
  });
}

/// Whether a result of the schema may stand where the archive has a value of that kind.
bool gives(const c10::TypePtr& type, const result_target& target) {
  if (target.is_list)
    return type->kind() == TypeKind::ListType &&
           type->castRaw<c10::ListType>()->getElementType()->kind() == TypeKind::TensorType;
  switch (plain(type->kind())) {
    case TypeKind::TensorType: return target.kind == value_kind::tensor;
    case TypeKind::IntType: return target.kind == value_kind::integer;
    case TypeKind::FloatType: return target.kind == value_kind::real;
    case TypeKind::BoolType: return target.kind == value_kind::boolean;
    default: return false;
  }
}

expected<void> bind_operator(instruction& made, const node& from, const binder& binding, c10::Device device) {
  const auto name = parse_operator(from.target);
  if (name) made.operation = c10::Dispatcher::singleton().findSchema({name->name, name->overload});
  if (!made.operation) return binding.wrong("LibTorch has no such operator");
  const auto& schema = made.operation->schema();
  std::size_t matched = 0;
  for (std::size_t i = 0; i < schema.arguments().size(); ++i) {
    const auto& wanted = schema.arguments()[i];
    const bool writes = wanted.alias_info() != nullptr && wanted.alias_info()->isWrite();
    if (writes && !(i == 0 && made.writes_in_place)) return binding.wrong("the operator writes to its arguments");
    const auto given = std::find_if(from.inputs.begin(), from.inputs.end(),
                                    [&](const auto& input) { return input.name == wanted.name(); });
    if (given == from.inputs.end()) {
      if (!wanted.default_value()) return binding.wrong("its argument " + wanted.name() + " is missing");
      argument_source absent;
      absent.constant = *wanted.default_value();
      made.arguments.push_back(std::move(absent));
      continue;
    }
    ++matched;
    auto bound = binding.bind(given->value, describe(wanted), wanted.name());
    if (!bound) return tl::unexpected(bound.error());
    made.arguments.push_back(*std::move(bound));
  }
  // A factory that names no device means the CPU; one that is given a tensor means the tensor's.
  if (!device.is_cpu() && !takes_tensors(schema))
    for (std::size_t i = 0; i < schema.arguments().size(); ++i)
      if (describe(schema.arguments()[i]).kind == TypeKind::DeviceObjType && made.arguments[i].constant.isNone())
        made.arguments[i].constant = device;
  if (matched != from.inputs.size())
    return binding.wrong("it has an argument that the operator's schema does not have");
  if (schema.returns().size() != made.results.size())
    return binding.wrong("it has other results than the operator's schema");
  for (std::size_t i = 0; i < made.results.size(); ++i)
    if (!gives(schema.returns()[i].type(), made.results[i]))
      return binding.wrong("its result " + std::to_string(i) + " is not what the operator's schema gives");
  return {};
}

expected<void> bind_arithmetic(instruction& made, const node& from, const binder& binding) {
  if (from.inputs.size() != made.arithmetic->arguments || made.results.size() != 1 || made.results[0].is_list ||
      made.results[0].kind == value_kind::tensor)
    return binding.wrong("it has another number of arguments or results than the operator");
  parameter number;
  number.kind = TypeKind::NumberType;
  for (const auto& input : from.inputs) {
    auto bound = binding.bind(input.value, number, input.name);
    if (!bound) return tl::unexpected(bound.error());
    made.arguments.push_back(*std::move(bound));
  }
  return {};
}

}  // namespace

expected<instruction> make_instruction(const node& from, const graph& in, const known_values& known,
                                       c10::Device device) {
  instruction made;
  made.name = from.name;
  made.target = from.target;
  made.writes_in_place = writes_in_place(from.target);
  made.arithmetic = find_scalar_operator(from.target);
  for (const auto& output : from.outputs) {
    const auto kind = output.values.empty() ? value_kind::tensor : in.values[output.values.front()].kind;
    made.results.push_back({output.is_list, kind, output.values});
  }
  const binder binding(from, in, known, device);
  const auto bound =
      made.arithmetic != nullptr ? bind_arithmetic(made, from, binding) : bind_operator(made, from, binding, device);
  if (!bound) return tl::unexpected(bound.error());
  return made;
}

bool is_constant(const instruction& candidate) noexcept {
  return std::all_of(candidate.arguments.begin(), candidate.arguments.end(),
                     [](const auto& each) { return each.how == form::constant; });
}

}  // namespace shoal::executor
