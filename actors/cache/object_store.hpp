// The SSD tier: objects in a folder of this instance's own. The only place that includes RocksDB.
//
// Owned by the storage actor's thread; all calls block. RocksDB (<folder>/index) has a head for each object: size,
// checksum, where its bytes are. Small objects lie in it as values (BlobDB); large ones in extent files
// (<folder>/extents), one a batch, synced before their heads are. Measured here, BlobDB alone kept 140 MB/s where the
// disk took 300: its bytes pass a memtable first. What has a head is therefore whole and on the disk; an extent file
// without one is what a crash left, and is removed at the start. Space of what is forgotten is punched out.
// What the checksum finds damaged is `corrupt` and the caller forgets it: everything here was derived from models,
// which are the truth.
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

  /// Objects that are kept together, with one sync. What was not committed was never there.
  class batch {
   public:
    virtual ~batch() = default;
    /// `checksum` is protocol::checksum_of(key, bytes). Writes it; the disk works while the caller goes on. Errors:
    /// unavailable (the disk is full, read-only): the batch goes on without it.
    virtual expected<void> add(const object_key& key, std::span<const std::byte> bytes, std::uint64_t checksum) = 0;
    /// When it returns, all that was added is on the disk. Error: unavailable; then none of them is.
    virtual expected<void> commit() = 0;
  };
  /// At most one at a time.
  virtual std::unique_ptr<batch> begin() = 0;

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
