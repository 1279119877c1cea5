#include "gateway/admission.hpp"

#include <algorithm>
#include <map>

#include "core/name.hpp"

namespace shoal::gateway {

using protocol::catalogue;
using protocol::infer;
using protocol::model_spec;
using protocol::model_state;

namespace {

std::string quoted(std::string_view text) { return "'" + std::string(text.substr(0, 80)) + "'"; }

template <class Specs>
std::string names_of(const Specs& specs) {
  std::string text;
  std::string_view last;  // versions of one model stand beside each other
  for (const auto& spec : specs) {
    if (spec.name == last) continue;
    text += (text.empty() ? "" : ", ") + spec.name;
    last = spec.name;
  }
  return text.empty() ? "none" : text;
}

std::string describe(const protocol::dimension& dim) {
  if (dim.is_fixed()) return std::to_string(dim.min);
  return std::to_string(dim.min) + " to " + std::to_string(dim.max);
}

expected<void> check_shape(const protocol::tensor_spec& spec, const tensor& input,
                           std::map<std::string_view, std::int64_t>& symbols) {
  const auto name = "input " + quoted(spec.name);
  if (input.dims.size() != spec.dims.size())
    return fail(errc::invalid_argument, name + " has shape " + to_string(input.dims) + ", but the model takes rank " +
                                            std::to_string(spec.dims.size()));
  for (std::size_t d = 0; d < spec.dims.size(); ++d) {
    const auto& dim = spec.dims[d];
    const auto size = input.dims[d];
    if (size < dim.min || size > dim.max)
      return fail(errc::invalid_argument, name + " has shape " + to_string(input.dims) + ", but dimension " +
                                              std::to_string(d) + " must be " + describe(dim));
    if (dim.symbol.empty()) continue;
    auto [known, is_new] = symbols.emplace(dim.symbol, size);
    if (!is_new && known->second != size)
      return fail(errc::invalid_argument, name + " has size " + std::to_string(size) + " in dimension " +
                                              std::to_string(d) + " ('" + dim.symbol + "'), but another input has " +
                                              std::to_string(known->second) + " there: they must be equal");
  }
  return {};
}

expected<void> check_tensor(const protocol::tensor_spec& spec, const tensor& input,
                            std::map<std::string_view, std::int64_t>& symbols) {
  if (input.type != spec.type)
    return fail(errc::invalid_argument, "input " + quoted(spec.name) + " has type " + std::string(name_of(input.type)) +
                                            ", but the model takes " + std::string(name_of(spec.type)));
  auto bytes = byte_size(input.type, input.dims);
  if (!bytes) return fail(bytes.error().code, "input " + quoted(spec.name) + ": " + bytes.error().message);
  if (auto shape = check_shape(spec, input, symbols); !shape) return shape;
  if (*bytes != input.data.size())
    return fail(errc::invalid_argument, "input " + quoted(spec.name) + " of shape " + to_string(input.dims) +
                                            " needs " + std::to_string(*bytes) + " bytes, but " +
                                            std::to_string(input.data.size()) + " came");
  return {};
}

expected<const model_spec*> find_listed(const catalogue& models, std::string_view name, std::uint64_t version) {
  if (auto good = check_name("a model's", name); !good) return tl::unexpected(good.error());
  const model_spec* best = nullptr;
  bool name_known = false;
  for (const auto& spec : models.models) {
    if (spec.name != name) continue;
    name_known = true;
    if (version != 0 && spec.version != version) continue;
    // The highest that is ready; if none is, the highest.
    const auto rank = [](const model_spec& s) { return std::pair(s.state == model_state::ready, s.version); };
    if (best == nullptr || rank(spec) > rank(*best)) best = &spec;
  }
  if (best == nullptr && name_known)
    return fail(errc::not_found, "model " + quoted(name) + " has no version " + std::to_string(version));
  if (best == nullptr)
    return fail(errc::not_found, "there is no model " + quoted(name) + "; served are: " + names_of(models.models));
  const auto title = "model " + quoted(name) + " version " + std::to_string(best->version);
  if (best->state == model_state::failed) {
    auto failed = error{errc::unavailable, title + " could not be loaded: " + best->reason};
    failed.retryable = false;
    return tl::unexpected(std::move(failed));
  }
  // A model whose workers are gone for the moment keeps its inputs and is queued for; one never loaded has none yet.
  if (best->state == model_state::loading && best->outputs.empty()) {
    auto loading = error{errc::unavailable, title + " is being loaded: try again in a moment"};
    loading.retry_after = std::chrono::milliseconds(1000);
    return tl::unexpected(std::move(loading));
  }
  return best;
}

}  // namespace

expected<const model_spec*> find_model(const model_list& models, std::string_view name, std::uint64_t version) {
  auto found = find_listed(models, name, version);
  if (found || found.error().code != errc::not_found || models.is_known) return found;
  error early{errc::unavailable, "no models are known here yet: the schedulers and workers have to come first"};
  early.retry_after = std::chrono::milliseconds(100);
  return tl::unexpected(std::move(early));
}

expected<void> admit(const model_spec& spec, infer& request) {
  std::vector<tensor> ordered(spec.inputs.size());
  std::vector<bool> given(spec.inputs.size());
  std::map<std::string_view, std::int64_t> symbols;
  for (auto& input : request.inputs) {
    const auto found = std::find_if(spec.inputs.begin(), spec.inputs.end(),
                                    [&](const protocol::tensor_spec& s) { return s.name == input.name; });
    if (found == spec.inputs.end())
      return fail(errc::invalid_argument,
                  "the model has no input " + quoted(input.name) + "; its inputs are: " + names_of(spec.inputs));
    const auto index = static_cast<std::size_t>(found - spec.inputs.begin());
    if (given[index]) return fail(errc::invalid_argument, "input " + quoted(input.name) + " is given twice");
    given[index] = true;
    if (auto checked = check_tensor(*found, input, symbols); !checked) return checked;
    ordered[index] = std::move(input);
  }
  for (std::size_t i = 0; i < given.size(); ++i)
    if (!given[i]) return fail(errc::invalid_argument, "input " + quoted(spec.inputs[i].name) + " is missing");
  for (std::size_t i = 0; i < request.outputs.size(); ++i) {
    const auto& name = request.outputs[i];
    if (std::none_of(spec.outputs.begin(), spec.outputs.end(), [&](const auto& s) { return s.name == name; }))
      return fail(errc::invalid_argument,
                  "the model has no output " + quoted(name) + "; its outputs are: " + names_of(spec.outputs));
    if (std::find(request.outputs.begin(), request.outputs.begin() + static_cast<std::ptrdiff_t>(i), name) !=
        request.outputs.begin() + static_cast<std::ptrdiff_t>(i))
      return fail(errc::invalid_argument, "output " + quoted(name) + " is asked for twice");
  }
  request.inputs = std::move(ordered);
  return {};
}

expected<void> check_answer(const model_spec& spec, const infer& request, const std::vector<tensor>& outputs) {
  const auto wrong = [](const std::string& what) {
    return fail(errc::internal, "the worker's answer is not the model's: " + what);
  };
  const auto wanted = request.outputs.empty() ? spec.outputs.size() : request.outputs.size();
  if (outputs.size() != wanted)
    return wrong(std::to_string(outputs.size()) + " outputs instead of " + std::to_string(wanted));
  std::map<std::string_view, std::int64_t> symbols;
  for (std::size_t i = 0; i < request.inputs.size() && i < spec.inputs.size(); ++i)
    for (std::size_t d = 0; d < spec.inputs[i].dims.size() && d < request.inputs[i].dims.size(); ++d)
      symbols.emplace(spec.inputs[i].dims[d].symbol, request.inputs[i].dims[d]);
  for (std::size_t o = 0; o < wanted; ++o) {
    const auto& output = outputs[o];
    const auto& name = request.outputs.empty() ? spec.outputs[o].name : request.outputs[o];
    const auto known =
        std::find_if(spec.outputs.begin(), spec.outputs.end(), [&](const auto& s) { return s.name == name; });
    if (known == spec.outputs.end()) return {};  // another version's, which took over meanwhile
    const auto told = quoted(output.name) + ", " + std::string(name_of(output.type)) + " " + to_string(output.dims);
    if (output.name != name || output.type != known->type || output.dims.size() != known->dims.size())
      return wrong(told + " instead of " + quoted(name) + ", " + std::string(name_of(known->type)) + " of rank " +
                   std::to_string(known->dims.size()));
    for (std::size_t d = 0; d < known->dims.size(); ++d) {
      const auto& dim = known->dims[d];
      const auto input = dim.symbol.empty() ? symbols.end() : symbols.find(dim.symbol);
      const bool fits = output.dims[d] >= 0 && (!dim.is_fixed() || output.dims[d] == dim.min) &&
                        (input == symbols.end() || output.dims[d] == input->second);
      if (!fits)
        return wrong(told + ": dimension " + std::to_string(d) + " must be " +
                     (input == symbols.end() ? describe(dim) : std::to_string(input->second)));
    }
    if (byte_size(output.type, output.dims).value_or(output.data.size() + 1) != output.data.size())
      return wrong(told + " with " + std::to_string(output.data.size()) + " bytes");
  }
  return {};
}

}  // namespace shoal::gateway
