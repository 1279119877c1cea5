// An object as a file of the host's memory tier: <folder>/<64 hexadecimal digits>, its bytes, then a trailer of 32
// bytes. The cache writes such files under another name and renames them when they are whole; workers map them
// read-only. Both check what they find: a file may have been cut, or a bit of it turned, while nobody looked.
//
// Layout of the trailer, little-endian: "shoalob1", u64 bytes before the trailer, u64 XXH3 of them seeded with the
// first eight bytes of the object's name, u64 zero. The bytes begin at a page, so they are aligned for every kernel.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>

#include "core/buffer.hpp"
#include "core/error.hpp"
#include "protocol/object_key.hpp"

namespace shoal::protocol {

inline constexpr std::uint64_t object_trailer_bytes = 32;

/// XXH3 as the trailer has it. The seed ties the sum to the name: a file under a wrong name does not verify.
std::uint64_t checksum_of(const object_key& key, std::span<const std::byte> bytes);
std::uint64_t checksum_seed(const object_key& key);

std::array<std::byte, object_trailer_bytes> object_trailer(std::uint64_t size, std::uint64_t checksum);

std::filesystem::path object_path(const std::filesystem::path& folder, const object_key& key);

/// Maps the file and verifies its bytes; the buffer holds them without the trailer and keeps the mapping. The mapping
/// stays valid when the file is removed. Errors: not_found, corrupt (cut, or another checksum), internal (mapping).
expected<buffer> map_object(const std::filesystem::path& folder, const object_key& key);

}  // namespace shoal::protocol
