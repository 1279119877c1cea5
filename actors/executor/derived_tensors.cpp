#include "executor/derived_tensors.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <ATen/ops/from_blob.h>

#include "core/tensor.hpp"
#include "executor/graph_uses.hpp"
#include "executor/kernels/bf16_linear.hpp"
#include "executor/kernels/int8_linear.hpp"
#include "executor/kernels/narrow_convolution.hpp"
#include "executor/kernels/packed_linear.hpp"
#include "executor/torch_types.hpp"

namespace shoal::executor {

namespace {

using sizes = std::vector<std::int64_t>;

/// Of a linear's weight [columns, inner].
template <std::optional<std::int64_t> (*Count)(std::int64_t, std::int64_t) noexcept>
std::optional<std::int64_t> of_linear(const sizes& weight) {
  return weight.size() == 2 ? Count(weight[0], weight[1]) : std::nullopt;
}

/// Of a convolution's weight [out, in, height, width].
template <std::optional<std::int64_t> (*Count)(std::int64_t, std::int64_t) noexcept,
          std::optional<std::int64_t> (*Inner)(const kernels::convolution_shape&) noexcept>
std::optional<std::int64_t> of_convolution(const sizes& weight) {
  if (weight.size() != 4) return std::nullopt;
  kernels::convolution_shape shape;
  shape.out_channels = weight[0];
  shape.in_channels = weight[1];
  shape.kernel_height = weight[2];
  shape.kernel_width = weight[3];
  const auto inner = Inner(shape);
  return inner ? Count(weight[0], *inner) : std::nullopt;
}

/// A packing whose bytes depend on its arguments alone, whatever the processor. (oneDNN's of convolutions is private to
/// a process.)
struct shared_packing {
  std::string_view target;
  std::string (*layout)();
  std::optional<std::int64_t> (*elements)(const sizes& weight);
  c10::ScalarType type;
};
constexpr std::array<shared_packing, 5> shared_packings{{
    {"torch.ops.shoal.pack_linear.default", kernels::packed_layout, of_linear<kernels::packed_elements>,
     c10::ScalarType::Float},
    {"torch.ops.shoal.pack_linear_bf16.default", kernels::bf16_layout, of_linear<kernels::packed_bf16_elements>,
     c10::ScalarType::BFloat16},
    {"torch.ops.shoal.pack_linear_int8.default", kernels::int8_layout, of_linear<kernels::packed_int8_bytes>,
     c10::ScalarType::Byte},
    {"torch.ops.shoal.pack_convolution_bf16.default", kernels::bf16_layout,
     of_convolution<kernels::packed_bf16_elements, kernels::convolution_inner_bf16>, c10::ScalarType::BFloat16},
    {"torch.ops.shoal.pack_convolution_int8.default", kernels::int8_layout,
     of_convolution<kernels::packed_int8_bytes, kernels::convolution_inner_int8>, c10::ScalarType::Byte},
}};
constexpr std::string_view folded_weight = "torch.ops.shoal.fold_batch_norm_weight.default";

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
  const auto stored = [&](const argument& named) -> const stored_tensor* {
    const auto* read = std::get_if<reference>(&named);
    const auto found = std::find_if(in.stored.begin(), in.stored.end(),
                                    [&](const stored_tensor& each) { return read != nullptr && each.id == read->id; });
    return found == in.stored.end() || records.key_of(found->record) == nullptr ? nullptr : &*found;
  };
  // A tensor is a view of its object: another view of the same bytes is packed into something else.
  const auto view = [](const stored_tensor& of) {
    return std::to_string(of.type.code) + text_of(of.sizes) + text_of(of.strides) + std::to_string(of.offset);
  };
  const auto* weight = stored(packing.inputs.front().value);
  std::string folded;
  if (weight == nullptr) {
    // With a batch norm in it: all that it was folded from is in the name.
    const auto* read = std::get_if<reference>(&packing.inputs.front().value);
    const auto fold = std::find_if(in.nodes.begin(), in.nodes.end(), [&](const node& each) {
      return read != nullptr && each.target == folded_weight && single_output(each) == read->id;
    });
    if (fold == in.nodes.end() || fold->inputs.empty()) return std::nullopt;
    weight = stored(fold->inputs.front().value);
    for (std::size_t i = 1; i < fold->inputs.size(); ++i) {
      const auto* part = stored(fold->inputs[i].value);
      const auto text = part == nullptr ? text_of(fold->inputs[i].value)
                                        : std::optional(to_hex(*records.key_of(part->record)) + view(*part));
      if (!text) return std::nullopt;
      folded += " " + fold->inputs[i].name + "=" + *text;
    }
    folded = " folded " + to_hex(protocol::key_of(std::as_bytes(std::span(folded))));
  }
  if (weight == nullptr) return std::nullopt;
  const auto elements = how->elements(weight->sizes);
  if (!elements) return std::nullopt;
  derivation made{*records.key_of(weight->record), how->layout(), *elements, how->type};
  // A matrix and an image's weight of the same bytes are told apart by their sizes.
  made.layout += " " + view(*weight) + folded;
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
