#include "executor/derived_tensors.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <ATen/ops/from_blob.h>

#include "core/tensor.hpp"
#include "executor/kernels/bf16_linear.hpp"
#include "executor/kernels/int8_linear.hpp"
#include "executor/kernels/packed_linear.hpp"
#include "executor/torch_types.hpp"

namespace shoal::executor {

namespace {

/// A packing whose bytes depend on its arguments alone, whatever the processor. (oneDNN's of convolutions is private to
/// a process.)
struct shared_packing {
  std::string_view target;
  std::string (*layout)();
  std::optional<std::int64_t> (*elements)(std::int64_t columns, std::int64_t inner) noexcept;
  c10::ScalarType type;
};
constexpr std::array<shared_packing, 3> shared_packings{{
    {"torch.ops.shoal.pack_linear.default", kernels::packed_layout, kernels::packed_elements, c10::ScalarType::Float},
    {"torch.ops.shoal.pack_linear_bf16.default", kernels::bf16_layout, kernels::packed_bf16_elements,
     c10::ScalarType::BFloat16},
    {"torch.ops.shoal.pack_linear_int8.default", kernels::int8_layout, kernels::packed_int8_bytes,
     c10::ScalarType::Byte},
}};

const shared_packing* shared_packing_of(const node& packing) {
  const auto found = std::find_if(shared_packings.begin(), shared_packings.end(),
                                  [&](const auto& each) { return each.target == packing.target; });
  return found == shared_packings.end() ? nullptr : &*found;
}

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
  if (const auto* list = std::get_if<item_list>(&from)) {
    std::vector<std::int64_t> numbers;
    for (const auto& each : list->items) {
      const auto* number = std::get_if<std::int64_t>(&each);
      if (number == nullptr) return std::nullopt;
      numbers.push_back(*number);
    }
    // A step for each channel would be a name of a thousand digits.
    if (numbers.size() <= 16) return text_of(numbers);
    return to_hex(protocol::key_of(std::as_bytes(std::span(numbers))));
  }
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

std::optional<derivation> derivation_of(const node& packing, const graph& in, const cached_records& records) {
  const auto* how = shared_packing_of(packing);
  if (how == nullptr || packing.inputs.empty()) return std::nullopt;
  const auto* first = std::get_if<reference>(&packing.inputs.front().value);
  if (first == nullptr) return std::nullopt;
  const auto weight =
      std::find_if(in.stored.begin(), in.stored.end(), [&](const stored_tensor& each) { return each.id == first->id; });
  if (weight == in.stored.end()) return std::nullopt;
  const auto* object = records.key_of(weight->record);
  if (object == nullptr) return std::nullopt;
  if (weight->sizes.size() != 2) return std::nullopt;
  const auto elements = how->elements(weight->sizes[0], weight->sizes[1]);
  if (!elements) return std::nullopt;
  derivation made{*object, how->layout(), *elements, how->type};
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
  std::vector<std::string_view> names;
  std::vector<protocol::object_key> keys;
  for (const auto& each : packs.nodes) {
    auto derived = derivation_of(each, packs, records);
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
  const bool packs = shared_packing_of(packing) != nullptr && found != entries_.end();
  return packs ? packed_in(found->second) : std::nullopt;
}

std::optional<at::Tensor> cached_derivations::packed_in(const entry& from) {
  if (!from.answer.bytes) return std::nullopt;
  auto packed = from_object(*from.answer.bytes);
  // Its name was not made of these bytes, so what the kernel relies on is looked at.
  const bool fits = packed && packed->scalar_type() == from.made_of.type && packed->dim() == 1 &&
                    packed->numel() == from.made_of.elements;
  return fits ? packed : std::nullopt;
}

void cached_derivations::offer(const node& packing, const at::Tensor& made) {
  const auto found = entries_.find(packing.name);
  if (shared_packing_of(packing) == nullptr || found == entries_.end() || !found->second.answer.is_wanted) return;
  const auto& entry = found->second;
  auto object = to_object(made);
  if (object.empty()) return;
  source_.publish(entry.key, std::move(object), entry.made_of.source, entry.made_of.layout);
  offered_.emplace_back(packing.name, made);
}

void cached_derivations::share() {
  if (offered_.empty()) return;
  source_.settle();
  std::vector<protocol::object_key> keys;
  for (const auto& [name, made] : offered_) keys.push_back(entries_.at(name).key);
  auto answers = source_.acquire(keys);
  for (std::size_t i = 0; i < offered_.size() && i < answers.size(); ++i) {
    auto& [name, made] = offered_[i];
    auto& entry = entries_.at(name);
    entry.answer = std::move(answers[i]);
    // Everybody who has this tensor has this very object; only what is behind it changes.
    if (const auto shared = packed_in(entry); shared && shared->sizes() == made.sizes())
      made.unsafeGetTensorImpl()->set_storage_keep_dtype(shared->storage());
  }
  offered_.clear();
}

}  // namespace shoal::executor
