// A reference-counted, immutable run of bytes: what a tensor's data is while it travels. It keeps alive whatever owns
// the bytes (a received ZeroMQ frame, an HTTP body, an ATen tensor), so a payload is passed on without a copy.
// Safe to share between threads; nobody writes to the bytes once a buffer exists.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>

namespace shoal {

class buffer {
 public:
  buffer() = default;

  /// Bytes owned by `owner`, which must keep them valid and unchanged.
  buffer(std::shared_ptr<const void> owner, std::span<const std::byte> bytes)
      : owner_(std::move(owner)), bytes_(bytes) {}

  /// `size` fresh bytes, 64-byte aligned, filled by `fill(std::byte*)` before anyone else sees them.
  template <class Fill>
  static buffer make(std::size_t size, Fill&& fill) {
    // Rounded up because aligned_alloc demands a multiple of the alignment.
    auto* raw = static_cast<std::byte*>(std::aligned_alloc(64, (size + 64) / 64 * 64));
    if (raw == nullptr) throw std::bad_alloc();
    std::shared_ptr<const void> owner(raw, [](const void* p) { std::free(const_cast<void*>(p)); });
    fill(raw);
    return {std::move(owner), {raw, size}};
  }

  static buffer copy(std::span<const std::byte> bytes) {
    return make(bytes.size(), [&](std::byte* to) {
      if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
    });
  }

  /// A part of this buffer that shares its owner. The caller has checked the range.
  [[nodiscard]] buffer slice(std::size_t offset, std::size_t size) const {
    return {owner_, bytes_.subspan(offset, size)};
  }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] const std::byte* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
  [[nodiscard]] const std::shared_ptr<const void>& owner() const noexcept { return owner_; }

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
};

}  // namespace shoal
