// The records of a `.pt2` file: a zip archive of stored (never compressed) entries, mapped read-only and used in place.
// PyTorch aligns each stored tensor to 64 bytes, so weights are read where they lie and pages are shared by processes.
//
// Owned by the model that was loaded from it; immutable after `open`, so any thread may read. The file must not change
// while it is mapped: replace it by renaming another over it. Every byte of the file is hostile: offsets, sizes and
// names are checked against the file before use, and the CRC-32 of a record before it is handed out (3 GB/s; a flipped
// bit in a weight would otherwise be a wrong answer). Layout: PKWARE's APPNOTE.TXT 6.3.10, §4.3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/error.hpp"
#include "protocol/object_key.hpp"

namespace shoal::executor {

class archive {
 public:
  /// Errors: not_found (no such regular file), corrupt (where and why).
  static expected<std::shared_ptr<const archive>> open(const std::filesystem::path& path);

  ~archive();
  archive(const archive&) = delete;
  archive& operator=(const archive&) = delete;

  [[nodiscard]] bool contains(std::string_view name) const;

  /// The bytes of a record, named without the archive's root folder: "models/model.json".
  /// Errors: corrupt (no such record, or its checksum differs).
  [[nodiscard]] expected<std::span<const std::byte>> record(std::string_view name) const;

  /// What the directory says of a record, without reading it. Error: corrupt (no such record).
  struct description {
    std::uint64_t size = 0;
    std::uint32_t crc = 0;
  };
  [[nodiscard]] expected<description> describe(std::string_view name) const;

  /// SHA-256 over every record's name, size and CRC-32 in order, and the file's size: another archive, another value.
  [[nodiscard]] protocol::object_key fingerprint() const;

  /// As `record`, for text.
  [[nodiscard]] expected<std::string_view> text(std::string_view name) const;

 private:
  struct entry {
    std::uint64_t header = 0;  ///< offset of the local header
    std::uint64_t offset = 0;  ///< offset of the bytes
    std::uint64_t size = 0;
    std::uint32_t crc = 0;
  };

  explicit archive(std::span<const std::byte> file) : file_(file) {}
  expected<void> read_directory();
  expected<void> read_entries(std::uint64_t begin, std::uint64_t size, std::uint64_t count);
  expected<void> locate(entry& found, std::string_view name, std::uint64_t directory) const;
  expected<void> check_overlaps() const;

  struct string_hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  std::span<const std::byte> file_;
  std::unordered_map<std::string, entry, string_hash, std::equal_to<>> entries_;
};

}  // namespace shoal::executor
