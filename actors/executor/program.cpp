#include "executor/program.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <new>
#include <stdexcept>
#include <string_view>
#include <unordered_set>

#include <ATen/ScalarOps.h>
#include <ATen/core/List.h>
#include <c10/util/Exception.h>

#include "executor/derived_tensors.hpp"
#include "executor/operators.hpp"
#include "executor/own_operators.hpp"

namespace shoal::executor {

namespace {

using form = argument_source::form;

/// Operators without alias annotation in their schema that may still return their input.
constexpr auto quiet_aliases = std::to_array<std::string_view>(
    {"alpha_dropout", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_tensors", "dropout", "einsum",
     "feature_alpha_dropout", "feature_dropout", "meshgrid", "sum_to_size", "type_as"});

bool may_return_input(const instruction& each) {
  const auto name = aten_name(each.target);
  if (std::find(quiet_aliases.begin(), quiet_aliases.end(), name) != quiet_aliases.end()) return true;
  if (!each.operation) return false;
  const auto& arguments = each.operation->schema().arguments();
  return std::any_of(arguments.begin(), arguments.end(), [](const auto& a) { return a.alias_info() != nullptr; });
}

const void* storage_of(const at::Tensor& tensor) { return tensor.storage().unsafeGetStorageImpl(); }

bool is_metadata_only(const instruction& each) { return aten_name(each.target) == "detach_"; }

bool makes_one_tensor(const instruction& each) {
  return each.results.size() == 1 && !each.results[0].is_list && each.results[0].slots.size() == 1 &&
         each.results[0].kind == value_kind::tensor;
}

tl::unexpected<error> failed(const instruction& at, errc code, std::string_view what) {
  // LibTorch's messages may go on for pages; their first line says it.
  const auto line = what.substr(0, std::min<std::size_t>(what.find('\n'), 300));
  return fail(code, "the node " + at.name + " (" + at.target + ") failed: " + std::string(line));
}

/// Not every operator raises IndexError for an index of the caller's: gather and scatter raise plain errors.
bool is_about_an_index(std::string_view what) {
  return what.find("out of bounds") != std::string_view::npos || what.find("out of range") != std::string_view::npos;
}

/// Calls `work` and turns what LibTorch throws into an error of the instruction `at` points to.
template <class Work>
expected<void> guarded(const instruction* const& at, Work&& work) {
  try {
    work();
    return {};
  } catch (const c10::IndexError& wrong) {
    return failed(*at, errc::invalid_argument, wrong.what_without_backtrace());
  } catch (const c10::OutOfMemoryError& wrong) {
    return failed(*at, errc::too_large, wrong.what_without_backtrace());
  } catch (const c10::Error& wrong) {
    const std::string_view what = wrong.what_without_backtrace();
    return failed(*at, is_about_an_index(what) ? errc::invalid_argument : errc::internal, what);
  } catch (const std::bad_alloc&) {
    return failed(*at, errc::too_large, "there is not enough memory");
  } catch (const std::exception& wrong) {
    return failed(*at, errc::internal, wrong.what());
  }
}

}  // namespace

expected<program> program::build(const graph& from, const std::vector<at::Tensor>& weights, bool fold,
                                 derived_tensors* derived, c10::Device device) {
  register_own_operators();
  program made;
  known_values known(from.values.size());
  made.frame_.resize(from.values.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    known[from.stored[i].id] = weights[i];
    made.weights_.push_back(weights[i].storage());
    made.read_only_.push_back(storage_of(weights[i]));
  }
  std::sort(made.read_only_.begin(), made.read_only_.end());
  // What is folded would be written to again and again.
  fold = fold && std::none_of(from.nodes.begin(), from.nodes.end(), [](const node& each) {
           return writes_in_place(each.target) && aten_name(each.target) != "detach_";
         });

  for (std::size_t i = 0; i < from.nodes.size(); ++i) {
    auto next = make_instruction(from.nodes[i], from, known, device);
    if (!next) return tl::unexpected(next.error());
    next->source = i;
    if (fold && is_constant(*next)) {
      const auto* packed = derived != nullptr && makes_one_tensor(*next) ? &from.nodes[i] : nullptr;
      if (packed != nullptr)
        if (auto found = derived->find(*packed)) {
          known[next->results[0].slots[0]] = *std::move(found);
          continue;
        }
      const instruction* at = &*next;
      if (auto folded = guarded(at, [&] { made.execute(*next); }); !folded) return tl::unexpected(folded.error());
      for (const auto& result : next->results)
        for (const auto slot : result.slots) known[slot] = std::exchange(made.frame_[slot], {});
      if (packed != nullptr) derived->offer(*packed, known[next->results[0].slots[0]].toTensor());
    } else {
      made.instructions_.push_back(*std::move(next));
    }
  }
  for (const auto& input : from.inputs) made.inputs_.push_back(input.id);
  for (const auto& output : from.outputs) {
    made.outputs_.push_back(output.id);
    made.known_outputs_.push_back(known[output.id]);
  }
  if (const auto refused = made.check_writes(from); !refused.empty()) return tl::unexpected(refused.front().reason);
  made.measure_constants();
  if (std::none_of(made.instructions_.begin(), made.instructions_.end(),
                   [](const instruction& each) { return each.writes_in_place; }))
    made.weights_.clear();  // what folding has packed is not kept twice
  made.plan_ends();
  return made;
}

std::vector<refused_part> program::refusals(const graph& from) {
  register_own_operators();
  program made;
  std::vector<refused_part> refused;
  const known_values known(from.values.size());
  for (std::size_t i = 0; i < from.nodes.size(); ++i) {
    const auto& each = from.nodes[i];
    auto next = make_instruction(each, from, known);
    if (!next) {
      refused.push_back({each.name, each.target, next.error()});
      continue;
    }
    next->source = i;
    made.instructions_.push_back(*std::move(next));
  }
  auto writes = made.check_writes(from);
  std::move(writes.begin(), writes.end(), std::back_inserter(refused));
  return refused;
}

std::map<std::string, std::size_t> program::kinds() const {
  std::map<std::string, std::size_t> counted;
  for (const auto& each : instructions_) ++counted[each.target];
  return counted;
}

void program::measure_constants() {
  std::unordered_set<const void*> counted(read_only_.begin(), read_only_.end());
  const auto measure = [&](const c10::IValue& value) {
    if (!value.isTensor() || !value.toTensor().defined()) return;
    const auto& tensor = value.toTensor();
    // What oneDNN has packed has no storage that can be looked at, only an implementation of its own.
    const auto* place = tensor.has_storage() ? storage_of(tensor) : tensor.unsafeGetTensorImpl();
    if (counted.insert(place).second) made_bytes_ += tensor.has_storage() ? tensor.storage().nbytes() : tensor.nbytes();
  };
  for (const auto& each : instructions_)
    for (const auto& source : each.arguments) {
      if (source.constant.isTensorList())
        for (const at::Tensor& element : source.constant.toTensorList()) measure(element);
      else
        measure(source.constant);
    }
  for (const auto& output : known_outputs_) measure(output);
}

std::vector<refused_part> program::check_writes(const graph& from) {
  std::vector<refused_part> refused;
  // Where a value's memory came from: a weight, an input, or (no_value) the run itself.
  std::vector<value_id> origin(from.values.size(), no_value);
  std::vector<std::string_view> weight(from.values.size());
  for (const auto& stored : from.stored) {
    origin[stored.id] = stored.id;
    weight[stored.id] = stored.name;
  }
  for (const auto& input : from.inputs) origin[input.id] = input.id;
  written_inputs_.assign(from.inputs.size(), false);
  for (const auto& made : instructions_) {
    const auto& each = from.nodes[made.source];
    const auto* first = each.inputs.empty() ? nullptr : std::get_if<reference>(&each.inputs.front().value);
    const auto source = first == nullptr ? no_value : origin[first->id];
    if (made.writes_in_place && !is_metadata_only(made) && source != no_value) {
      if (!weight[source].empty())
        refused.push_back(
            {each.name, each.target,
             error(errc::unsupported, "the node " + each.name + " (" + each.target + ") changes the weight or buffer " +
                                          std::string(weight[source]) +
                                          " while the model runs: return the new value as an output "
                                          "instead")});
      for (std::size_t i = 0; i < from.inputs.size(); ++i)
        if (from.inputs[i].id == source) written_inputs_[i] = true;
    }
    if (!may_return_input(made)) continue;
    for (const auto& output : each.outputs)
      for (const auto slot : output.values) origin[slot] = source;
  }
  return refused;
}

void program::plan_ends() {
  std::vector<bool> read(frame_.size());
  for (const auto slot : outputs_) read[slot] = true;
  for (auto each = instructions_.rbegin(); each != instructions_.rend(); ++each) {
    for (auto& result : each->results)
      for (auto& slot : result.slots)
        if (!read[slot]) slot = no_value;
    // Readers of a value, last argument first: only the last may take it out of its slot.
    for (auto source = each->arguments.rbegin(); source != each->arguments.rend(); ++source) {
      const auto first_met = [&](value_id slot) { return slot != no_value && !read[slot]; };
      if (first_met(source->slot)) {
        read[source->slot] = true;
        if (source->how == form::copied)
          source->how = form::moved;
        else
          each->ends.push_back(source->slot);
      }
      for (const auto slot : source->slots)
        if (first_met(slot)) {
          read[slot] = true;
          each->ends.push_back(slot);
        }
    }
  }
}

expected<std::vector<at::Tensor>> program::run(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> outputs;
  const instruction* at = nullptr;
  request_only_.clear();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    frame_[inputs_[i]] = inputs[i];
    if (!written_inputs_[i]) request_only_.push_back(storage_of(inputs[i]));
  }
  auto done = guarded(at, [&] {
    for (const auto& next : instructions_) {
      at = &next;
      execute(next);
    }
  });
  if (done)
    for (std::size_t i = 0; i < outputs_.size(); ++i)
      outputs.push_back((known_outputs_[i].isNone() ? frame_[outputs_[i]] : known_outputs_[i]).toTensor());
  for (const auto slot : inputs_) frame_[slot] = {};
  for (const auto slot : outputs_) frame_[slot] = {};
  if (!done) {
    for (auto& slot : frame_) slot = {};
    stack_.clear();
    return tl::unexpected(done.error());
  }
  return outputs;
}

void program::execute(const instruction& next) {
  stack_.clear();
  for (const auto& source : next.arguments) stack_.push_back(argument(source));
  if (next.writes_in_place) check_target(next);
  if (observer_ != nullptr) observer_->before(next, stack_);
  if (next.operation) {
    next.operation->callBoxed(stack_);
  } else {
    auto result = next.arithmetic->compute(stack_);
    stack_.clear();
    stack_.push_back(std::move(result));
  }
  if (observer_ != nullptr) observer_->after(next, stack_);
  for (const auto slot : next.ends) frame_[slot] = {};
  store(next);
}

c10::IValue program::argument(const argument_source& from) {
  switch (from.how) {
    case form::constant: return from.constant;
    case form::copied: return frame_[from.slot];
    case form::moved: return std::move(frame_[from.slot]);
    case form::real: return static_cast<double>(frame_[from.slot].toInt());
    case form::wrapped_number: {
      auto tensor = c10::scalar_to_tensor(frame_[from.slot].toScalar());
      tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
      return tensor;
    }
    case form::integers: {
      auto list = from.constant.toIntList().copy();
      for (std::size_t i = 0; i < from.slots.size(); ++i)
        if (from.slots[i] != no_value) list.set(i, frame_[from.slots[i]].toInt());
      return list;
    }
    case form::reals: {
      auto list = from.constant.toDoubleList().copy();
      for (std::size_t i = 0; i < from.slots.size(); ++i)
        if (from.slots[i] != no_value) list.set(i, frame_[from.slots[i]].toDouble());
      return list;
    }
    case form::tensors: {
      auto list = from.constant.toTensorList().copy();
      for (std::size_t i = 0; i < from.slots.size(); ++i)
        if (from.slots[i] != no_value) list.set(i, frame_[from.slots[i]].toTensor());
      return list;
    }
    case form::optional_tensors: {
      auto list = from.constant.toOptionalTensorList().copy();
      for (std::size_t i = 0; i < from.slots.size(); ++i)
        if (from.slots[i] != no_value) list.set(i, frame_[from.slots[i]].toTensor());
      return list;
    }
  }
  return {};
}

/// The last line of defence: `check_writes` follows what schemas say about aliases, this sees the memory itself.
void program::check_target(const instruction& next) const {
  if (is_metadata_only(next)) return;
  const auto* storage = storage_of(stack_.front().toTensor());
  if (std::binary_search(read_only_.begin(), read_only_.end(), storage) ||
      std::find(request_only_.begin(), request_only_.end(), storage) != request_only_.end())
    throw std::domain_error("it would write to a weight or to a request's input");
}

void program::store(const instruction& next) {
  if (stack_.size() != next.results.size()) throw std::length_error("the operator gave another number of results");
  for (std::size_t i = 0; i < next.results.size(); ++i) {
    const auto& target = next.results[i];
    auto& value = stack_[i];
    if (target.is_list) {
      const auto list = value.toTensorList();
      if (list.size() != target.slots.size())
        throw std::length_error("the operator gave a list of " + std::to_string(list.size()) + " results, not " +
                                std::to_string(target.slots.size()));
      for (std::size_t j = 0; j < target.slots.size(); ++j)
        if (target.slots[j] != no_value) frame_[target.slots[j]] = list.get(j);
    } else if (!target.slots.empty() && target.slots[0] != no_value) {
      if (target.kind == value_kind::tensor && (!value.isTensor() || !value.toTensor().defined()))
        throw std::domain_error("the operator gave no tensor");
      frame_[target.slots[0]] = std::move(value);
    }
  }
  stack_.clear();
}

}  // namespace shoal::executor
