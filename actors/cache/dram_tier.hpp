// The memory tier of a host: a directory on tmpfs with a file per object (protocol/object_file.hpp), which all caches
// of the host write and all its workers map. A file appears whole or not at all: it is written under a hidden name and
// renamed. Removing one never disturbs who has it mapped. (The simulation keeps such a tier in memory.)
//
// Owned by the storage actor's thread; only `members` is also called by the cache's actor. Who lives is told by locks:
// each instance holds one on <folder>/.members/<its name>, which the kernel takes away when its process ends.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "protocol/object_key.hpp"

namespace shoal::cache {

class dram_tier {
 public:
  using object_key = protocol::object_key;

  /// Makes the folder if it is not there, and tells the others that `name` lives.
  /// Errors: unavailable (cannot be made or written, or `name` lives already).
  static expected<std::unique_ptr<dram_tier>> open(const std::filesystem::path& folder, std::uint64_t name);
  virtual ~dram_tier() = default;

  /// One file under way. Removed unless it was finished.
  class writer {
   public:
    virtual ~writer() = default;
    virtual expected<void> write(std::span<const std::byte> bytes) = 0;
    /// Closes it with its trailer and gives it its name. Errors: unavailable, corrupt (not the size that was promised).
    virtual expected<void> finish() = 0;
  };

  /// Takes room for `size` bytes at once: a full tmpfs is an error here, not half way (or a signal later). `checksum`,
  /// where it is known, is protocol::checksum_of(key, bytes).
  virtual expected<std::unique_ptr<writer>> begin(const object_key& key, std::uint64_t size,
                                                  std::optional<std::uint64_t> checksum) = 0;
  expected<std::unique_ptr<writer>> begin(const object_key& key, std::uint64_t size) { return begin(key, size, {}); }
  expected<void> put(const object_key& key, std::span<const std::byte> bytes,
                     std::optional<std::uint64_t> checksum = {});

  /// Whether the file is there and its bytes verify: its size. Errors: not_found, corrupt.
  [[nodiscard]] virtual expected<std::uint64_t> check(const object_key& key) const = 0;
  /// A file that is not there (any more) is as good as removed.
  virtual expected<void> remove(const object_key& key) = 0;

  /// Objects by their names and lengths, unverified. Hidden files whose writer lives no more are removed.
  virtual std::vector<std::pair<object_key, std::uint64_t>> scan() = 0;

  /// The names of all instances that live, this one's included.
  [[nodiscard]] virtual std::vector<std::uint64_t> members() const = 0;
};

}  // namespace shoal::cache
