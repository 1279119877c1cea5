// A named array: what goes into a model and what comes out. Row-major, little-endian. The bytes are shared and nobody
// changes them, so that copying a tensor is cheap and sending one copies no bytes.
//
// Constructors check nothing, so that requests can be written in one expression; `check` does, and so does each call
// that sends a tensor. Views check type, size and alignment.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/error.hpp"

namespace shoal::client {

static_assert(std::endian::native == std::endian::little, "tensors are little-endian, and so must be the machine");

/// Element types as Open Inference Protocol v2 has them.
enum class dtype : std::uint8_t {
  boolean,
  uint8,
  uint16,
  uint32,
  uint64,
  int8,
  int16,
  int32,
  int64,
  fp16,
  bf16,
  fp32,
  fp64,
  bytes,
};

/// "FP32".
SHOAL_CLIENT_API std::string_view name_of(dtype type) noexcept;
/// Bytes of one element; 0 for `bytes`, whose elements have no fixed size and which the mesh does not take.
SHOAL_CLIENT_API std::size_t size_of(dtype type) noexcept;

/// The bits of a half-precision number. C++20 has no arithmetic for it.
struct float16 {
  std::uint16_t bits = 0;
  bool operator==(const float16&) const = default;
};
struct bfloat16 {
  std::uint16_t bits = 0;
  bool operator==(const bfloat16&) const = default;
};

namespace detail {

template <class T>
inline constexpr bool is_text = std::same_as<T, char> || std::same_as<T, wchar_t> || std::same_as<T, char8_t> ||
                                std::same_as<T, char16_t> || std::same_as<T, char32_t>;

template <class T>
constexpr dtype dtype_of() {
  if constexpr (std::same_as<T, bool>)
    return dtype::boolean;
  else if constexpr (std::same_as<T, float16>)
    return dtype::fp16;
  else if constexpr (std::same_as<T, bfloat16>)
    return dtype::bf16;
  else if constexpr (std::same_as<T, float>)
    return dtype::fp32;
  else if constexpr (std::same_as<T, double>)
    return dtype::fp64;
  else {
    constexpr auto first = std::is_signed_v<T> ? dtype::int8 : dtype::uint8;
    return static_cast<dtype>(static_cast<int>(first) + std::countr_zero(sizeof(T)));
  }
}

}  // namespace detail

/// What can be an element of a tensor: bool, integers up to 64 bits, float, double, float16, bfloat16.
template <class T>
concept element = std::same_as<T, bool> || std::same_as<T, float> || std::same_as<T, double> ||
    std::same_as<T, float16> || std::same_as<T, bfloat16> ||(std::integral<T> && !detail::is_text<T> && sizeof(T) <= 8);

template <element T>
inline constexpr dtype dtype_of = detail::dtype_of<T>();

/// Sizes >= 0, outermost first; empty: a scalar.
using shape = std::vector<std::int64_t>;

class SHOAL_CLIENT_API tensor {
 public:
  tensor() = default;

  /// Takes the vector over: `tensor("x", {2, 3}, std::move(values))` copies nothing.
  template <element T>
  requires(!std::same_as<T, bool>) tensor(std::string name, shape dims, std::vector<T> values)
      : name_(std::move(name)), type_(dtype_of<T>), dims_(std::move(dims)) {
    auto owner = std::make_shared<const std::vector<T>>(std::move(values));
    bytes_ = std::as_bytes(std::span(*owner));
    owner_ = std::move(owner);
  }
  template <element T>
  tensor(std::string name, shape dims, std::initializer_list<T> values)
      : tensor(copy(std::move(name), std::move(dims), std::span(values.begin(), values.size()))) {}
  tensor(std::string name, shape dims, const std::vector<bool>& values);

  template <element T>
  static tensor copy(std::string name, shape dims, std::span<const T> values) {
    return copy_of(std::move(name), dtype_of<T>, std::move(dims), std::as_bytes(values));
  }
  /// The values stay where they are; `owner` keeps them valid and unchanged until the last user lets it go. That may be
  /// after a request's outcome (a network buffer): without an owner, the caller sees to it that they outlive the mesh.
  template <element T>
  static tensor borrow(std::string name, shape dims, std::span<const T> values, std::shared_ptr<const void> owner) {
    return tensor(std::move(name), dtype_of<T>, std::move(dims), std::as_bytes(values), std::move(owner));
  }
  /// As `borrow`, of a type known at run time.
  tensor(std::string name, dtype type, shape dims, std::span<const std::byte> bytes, std::shared_ptr<const void> owner)
      : name_(std::move(name)), type_(type), dims_(std::move(dims)), bytes_(bytes), owner_(std::move(owner)) {}
  static tensor copy_of(std::string name, dtype type, shape dims, std::span<const std::byte> bytes);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] dtype type() const noexcept { return type_; }
  [[nodiscard]] const shape& dims() const noexcept { return dims_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  /// What keeps `bytes` alive.
  [[nodiscard]] const std::shared_ptr<const void>& owner() const noexcept { return owner_; }

  /// invalid_argument: a negative size, a rank above 16, bytes that do not match the shape; unsupported: dtype::bytes.
  [[nodiscard]] expected<void> check() const;

  /// The elements as they lie, valid as long as a copy of this tensor is. Error invalid_argument: another type.
  template <element T>
  [[nodiscard]] expected<std::span<const T>> view() const& {
    if (auto fits = check_view(dtype_of<T>, alignof(T)); !fits) return tl::unexpected(std::move(fits.error()));
    return std::span(reinterpret_cast<const T*>(bytes_.data()), bytes_.size() / sizeof(T));
  }
  template <element T>
  expected<std::span<const T>> view() const&& = delete;  // the bytes would go with the tensor

  /// A copy of the elements, at any alignment. Error invalid_argument: another type.
  template <element T>
  requires(!std::same_as<T, bool>) [[nodiscard]] expected<std::vector<T>> values() const {
    if (auto fits = check_view(dtype_of<T>, 1); !fits) return tl::unexpected(std::move(fits.error()));
    std::vector<T> all(bytes_.size() / sizeof(T));
    if (!all.empty()) std::memcpy(all.data(), bytes_.data(), all.size() * sizeof(T));
    return all;
  }

 private:
  [[nodiscard]] expected<void> check_view(dtype type, std::size_t alignment) const;

  std::string name_;
  dtype type_ = dtype::fp32;
  shape dims_;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
};

}  // namespace shoal::client
