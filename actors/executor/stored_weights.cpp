#include "executor/stored_weights.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <unordered_map>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "executor/torch_types.hpp"

namespace shoal::executor {

namespace {

/// One past the last element a strided view touches, or nothing if its sizes make no sense.
std::optional<std::uint64_t> reach(const stored_tensor& stored) {
  if (stored.sizes.size() != stored.strides.size() || stored.offset < 0) return std::nullopt;
  std::int64_t last = stored.offset;
  bool empty = false;
  for (std::size_t d = 0; d < stored.sizes.size(); ++d) {
    if (stored.sizes[d] < 0 || stored.strides[d] < 0) return std::nullopt;
    empty = empty || stored.sizes[d] == 0;
    std::int64_t span = 0;
    if (stored.sizes[d] > 0 && (__builtin_mul_overflow(stored.sizes[d] - 1, stored.strides[d], &span) ||
                                __builtin_add_overflow(last, span, &last)))
      return std::nullopt;
  }
  return empty ? 0 : static_cast<std::uint64_t>(last) + 1;
}

/// Numbers of elements multiply to less than 2^62: ATen computes with them unchecked.
bool is_countable(const std::vector<std::int64_t>& sizes) {
  std::int64_t count = 1;
  for (const auto size : sizes)
    if (size > 0 && (__builtin_mul_overflow(count, size, &count) || count > (std::int64_t{1} << 62))) return false;
  return sizes.size() <= 64;  // ATen's own limit of dimensions
}

expected<at::Tensor> view(const buffer& whole, const stored_tensor& stored) {
  const auto record = whole.bytes();
  const auto where = "the weight " + stored.name + " (record " + stored.record + ")";
  const auto type = scalar_type(stored.type);
  if (!type) return fail(errc::corrupt, where + " has the unknown ScalarType " + std::to_string(stored.type.code));
  const auto element = c10::elementSize(*type);
  const auto needed = reach(stored);
  if (!needed || !is_countable(stored.sizes))
    return fail(errc::corrupt, where + " has sizes or strides that make no sense");
  if (*needed > record.size() / element)
    return fail(errc::corrupt, where + " needs " + std::to_string(*needed) + " elements of " + std::to_string(element) +
                                   " bytes, but its record has " + std::to_string(record.size()) + " bytes");
  const auto options = at::TensorOptions().dtype(*type);
  if (*needed == 0) return at::empty(stored.sizes, options);
  const auto* begin = record.data() + static_cast<std::size_t>(stored.offset) * element;
  auto* data = const_cast<std::byte*>(begin);  // ATen has no read-only tensors; nothing writes here (program.cpp)
  const auto keep = [owner = whole.owner()](void*) {};
  if (reinterpret_cast<std::uintptr_t>(data) % element == 0)
    return at::from_blob(data, stored.sizes, stored.strides, keep, options);
  const auto elements = static_cast<std::int64_t>(*needed) - stored.offset;
  auto copy = at::empty({elements}, options);
  std::memcpy(copy.data_ptr(), data, static_cast<std::size_t>(elements) * element);
  return copy.as_strided(stored.sizes, stored.strides);
}

}  // namespace

expected<weights> map_weights(const std::shared_ptr<const archive>& from, const std::vector<stored_tensor>& stored,
                              const cached_records& cached) {
  weights result;
  std::unordered_map<std::string_view, buffer> records;  // each is verified once
  for (const auto& each : stored) {
    auto known = records.find(each.record);
    if (known == records.end()) {
      if (const auto* object = cached.find(each.record)) {
        known = records.emplace(each.record, *object).first;
      } else {
        const auto read = from->record(each.record);
        if (!read)
          return fail(read.error().code, "the weight " + each.name + " cannot be read: " + read.error().message);
        known = records.emplace(each.record, buffer(from, *read)).first;
      }
      result.bytes += known->second.size();
    }
    auto made = view(known->second, each);
    if (!made) return tl::unexpected(made.error());
    result.tensors.push_back(*std::move(made));
  }
  return result;
}

void move_weights(weights& moved, c10::Device device) {
  if (device.is_cpu()) return;
  const auto originals = moved.tensors;
  std::unordered_multimap<const void*, std::size_t> copied;  // places in the list, by the host's address
  for (std::size_t i = 0; i < originals.size(); ++i) {
    const auto& from = originals[i];
    const auto [begin, end] = copied.equal_range(from.const_data_ptr());
    const auto same = std::find_if(begin, end, [&](const auto& each) {
      const auto& other = originals[each.second];
      return other.scalar_type() == from.scalar_type() && other.sizes() == from.sizes() &&
             other.strides() == from.strides();
    });
    moved.tensors[i] = same == end ? from.to(device) : moved.tensors[same->second];
    if (same == end && from.numel() != 0) copied.emplace(from.const_data_ptr(), i);
  }
}

}  // namespace shoal::executor
