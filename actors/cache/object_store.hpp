// The SSD tier: objects in a RocksDB folder of this instance's own. The only place that includes RocksDB.
//
// Owned by the storage actor's thread; all calls block. An object is a head (size, checksum) and its bytes in extents
// of 4 MiB, which BlobDB keeps in blob files. The head is written with the last extent, so what has a head is whole.
// Large writes go past the write-ahead log and are flushed before they are acknowledged, so that each byte is written
// once; small ones are synced through the log. What RocksDB or the checksum finds damaged is `corrupt` and the caller
// forgets it: everything here was derived from models, which are the truth.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "protocol/object_key.hpp"

namespace shoal::cache {

class object_store {
 public:
  using object_key = protocol::object_key;

  /// Makes the folder if it is not there and locks it. Errors: unavailable (used by another instance, cannot be
  /// written), corrupt (it is damaged, or holds something else); each says what to do.
  static expected<std::unique_ptr<object_store>> open(const std::filesystem::path& folder);
  virtual ~object_store() = default;

  struct item {
    object_key key;
    std::span<const std::byte> bytes;
  };
  /// Keeps all of them; when it returns they are on the disk. Errors: unavailable (the disk: full, read-only).
  virtual expected<void> put(std::span<const item> items) = 0;

  /// Hands the bytes to `take` in order, in pieces, and returns the object's size. An error of `take` ends it and is
  /// returned; so whoever takes must not use what came before the whole was returned.
  /// Errors: not_found, corrupt (checksum), unavailable (the disk).
  using sink = std::function<expected<void>(std::span<const std::byte>)>;
  virtual expected<std::uint64_t> read(const object_key& key, const sink& take) = 0;

  virtual expected<void> forget(const object_key& key) = 0;

  /// Every object and its size.
  virtual std::vector<std::pair<object_key, std::uint64_t>> index() = 0;

  /// Random, made with the folder: the name of the instance that owns it, over restarts.
  [[nodiscard]] virtual std::uint64_t identity() const = 0;
};

}  // namespace shoal::cache
