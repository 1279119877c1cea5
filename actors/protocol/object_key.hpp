// The name of an object of the cache: what it holds decides it. A tensor of an archive is named by the SHA-256 of its
// bytes, so two versions of a model share what is equal; what is made of one (a weight packed for a kernel) is named by
// the SHA-256 of the source's name and the layout's, so that it is found without having been made before. xxHash only
// checks fills, it never names. Plain values, any thread.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace shoal::protocol {

struct object_key {
  std::array<std::byte, 32> bytes{};
  auto operator<=>(const object_key&) const = default;
};

/// SHA-256 of `bytes` (FIPS 180-4; about 2 GB/s with the processor's own instructions).
object_key key_of(std::span<const std::byte> bytes);

/// The name of what is made of `source` in the layout `layout`, which names the algorithm, its version and whatever of
/// the machine it depends on: "linear-f32-1-avx512".
object_key derived_key(const object_key& source, std::string_view layout);

/// 64 lower-case hexadecimal digits, and back (nothing else is taken).
std::string to_hex(const object_key& key);
std::optional<object_key> parse_object_key(std::string_view hex);

struct object_key_hash {
  std::size_t operator()(const object_key& key) const noexcept {
    std::size_t word = 0;  // SHA-256 is as good a hash as any part of it
    std::memcpy(&word, key.bytes.data(), sizeof word);
    return word;
  }
};

}  // namespace shoal::protocol
