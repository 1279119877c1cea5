#include "worker/executor/derived_tensors.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <ATen/Version.h>
#include <ATen/ops/from_blob.h>

#include "core/tensor.hpp"
#include "worker/executor/torch_types.hpp"

namespace shoal::worker::executor {

namespace {

constexpr std::string_view packing_prefix = "torch.ops.shoal.pack_";
constexpr std::uint64_t magic = 0x316e746c616f6873;  // "shoaltn1"
constexpr std::size_t header_bytes = 128;
constexpr std::size_t most_dimensions = (header_bytes - 16) / sizeof(std::int64_t);

std::string text_of(const std::vector<std::int64_t>& numbers) {
  std::string text;
  for (const auto number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return "[" + text + "]";
}

/// A constant as a part of a layout's name; nothing for what is none.
std::optional<std::string> text_of(const argument& from) {
  if (std::holds_alternative<std::monostate>(from)) return "none";
  if (const auto* integer = std::get_if<std::int64_t>(&from)) return std::to_string(*integer);
  if (const auto* yes = std::get_if<bool>(&from)) return *yes ? "true" : "false";
  if (const auto* text = std::get_if<std::string>(&from)) return *text;
  if (const auto* real = std::get_if<double>(&from)) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, real, sizeof bits);
    return std::to_string(bits);
  }
  return std::nullopt;
}

std::optional<dtype> dtype_of_tensor(const at::Tensor& made) {
  for (std::size_t i = 0; i < dtype_table.size(); ++i) {
    const auto type = static_cast<dtype>(i);
    if (size_of(type) != 0 && scalar_type(type) == made.scalar_type()) return type;
  }
  return std::nullopt;
}

}  // namespace

std::optional<derivation> derivation_of(const node& packing, const graph& in, const cached_records& records,
                                        const std::string& kernel) {
  if (!packing.target.starts_with(packing_prefix) || packing.inputs.empty()) return std::nullopt;
  const auto* first = std::get_if<reference>(&packing.inputs.front().value);
  if (first == nullptr) return std::nullopt;
  const auto weight =
      std::find_if(in.stored.begin(), in.stored.end(), [&](const stored_tensor& each) { return each.id == first->id; });
  if (weight == in.stored.end()) return std::nullopt;
  const auto* object = records.key_of(weight->record);
  if (object == nullptr) return std::nullopt;
  derivation made{*object, packing.target.substr(std::string_view("torch.ops.shoal.").size()) + " " + kernel};
  // The weight is a view of its object: another view of the same bytes is packed into something else.
  made.layout += " " + std::to_string(weight->type.code) + text_of(weight->sizes) + text_of(weight->strides) +
                 std::to_string(weight->offset);
  for (std::size_t i = 1; i < packing.inputs.size(); ++i) {
    const auto text = text_of(packing.inputs[i].value);
    if (!text) return std::nullopt;
    made.layout += " " + packing.inputs[i].name + "=" + *text;
  }
  return made;
}

buffer to_object(const at::Tensor& made) {
  const auto plain = made.contiguous();
  const auto type = dtype_of_tensor(plain);
  if (!type || static_cast<std::size_t>(plain.dim()) > most_dimensions || plain.nbytes() == 0) return {};
  return buffer::make(header_bytes + plain.nbytes(), [&](std::byte* to) {
    std::memset(to, 0, header_bytes);
    const std::array<std::uint32_t, 2> what{static_cast<std::uint32_t>(*type), static_cast<std::uint32_t>(plain.dim())};
    std::memcpy(to, &magic, sizeof magic);
    std::memcpy(to + 8, what.data(), sizeof what);
    std::memcpy(to + 16, plain.sizes().data(), plain.sizes().size() * sizeof(std::int64_t));
    std::memcpy(to + header_bytes, plain.const_data_ptr(), plain.nbytes());
  });
}

std::optional<at::Tensor> from_object(const buffer& bytes) {
  if (bytes.size() <= header_bytes) return std::nullopt;
  std::uint64_t word = 0;
  std::array<std::uint32_t, 2> what{};
  std::memcpy(&word, bytes.data(), sizeof word);
  std::memcpy(what.data(), bytes.data() + 8, sizeof what);
  const auto type = dtype_of(what[0]);
  if (word != magic || !type || size_of(*type) == 0 || what[1] > most_dimensions) return std::nullopt;
  shape sizes(what[1]);
  std::memcpy(sizes.data(), bytes.data() + 16, sizes.size() * sizeof(std::int64_t));
  const auto needed = byte_size(*type, sizes);
  if (!needed || *needed != bytes.size() - header_bytes) return std::nullopt;
  auto* data = const_cast<std::byte*>(bytes.data() + header_bytes);  // read-only memory; nothing writes to weights
  return at::from_blob(
      data, sizes, [owner = bytes.owner()](void*) {}, at::TensorOptions().dtype(scalar_type(*type)));
}

cached_derivations::cached_derivations(object_source& source, const graph& packs, const cached_records& records)
    : source_(source) {
  // One kernel's layouts may differ between instruction sets; the version is raised when a layout changes.
  const auto kernel = "1 " + at::get_cpu_capability();
  std::vector<std::string_view> names;
  std::vector<protocol::object_key> keys;
  for (const auto& each : packs.nodes) {
    auto derived = derivation_of(each, packs, records, kernel);
    if (!derived) continue;
    keys.push_back(protocol::derived_key(derived->source, derived->layout));
    names.push_back(each.name);
    entries_[each.name] = {*std::move(derived), keys.back(), {}};
  }
  if (keys.empty()) return;
  auto answers = source_.acquire(keys);
  for (std::size_t i = 0; i < names.size() && i < answers.size(); ++i)
    entries_.at(std::string(names[i])).answer = std::move(answers[i]);
}

std::optional<at::Tensor> cached_derivations::find(const node& packing) {
  const auto found = entries_.find(packing.name);
  if (found == entries_.end() || !found->second.answer.bytes) return std::nullopt;
  return from_object(*found->second.answer.bytes);
}

void cached_derivations::offer(const node& packing, const at::Tensor& made) {
  const auto found = entries_.find(packing.name);
  if (found == entries_.end() || !found->second.answer.is_wanted) return;
  const auto& entry = found->second;
  auto object = to_object(made);
  if (!object.empty()) source_.publish(entry.key, std::move(object), entry.made_of.source, entry.made_of.layout);
}

}  // namespace shoal::worker::executor
