// The memory tier of a host: a directory on tmpfs with a file per object (protocol/object_file.hpp), which all caches
// of the host write and all its workers map. A file appears whole or not at all: it is written under a hidden name and
// renamed. Removing one never disturbs who has it mapped.
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
  ~dram_tier();
  dram_tier(const dram_tier&) = delete;
  dram_tier& operator=(const dram_tier&) = delete;

  /// One file under way. Removed unless it was finished.
  class writer {
   public:
    ~writer();
    writer(const writer&) = delete;
    writer& operator=(const writer&) = delete;
    expected<void> write(std::span<const std::byte> bytes);
    /// Closes it with its trailer and gives it its name. Errors: unavailable, corrupt (not the size that was promised).
    expected<void> finish();

   private:
    friend class dram_tier;
    struct state;
    explicit writer(std::unique_ptr<state> begun);
    std::unique_ptr<state> state_;
  };

  /// Takes room for `size` bytes at once: a full tmpfs is an error here, not half way (or a signal later).
  expected<std::unique_ptr<writer>> begin(const object_key& key, std::uint64_t size);
  /// `checksum`, where it is known, is protocol::checksum_of(key, bytes).
  expected<void> put(const object_key& key, std::span<const std::byte> bytes,
                     std::optional<std::uint64_t> checksum = {});

  /// Whether the file is there and its bytes verify: its size. Errors: not_found, corrupt.
  expected<std::uint64_t> check(const object_key& key) const;
  /// A file that is not there (any more) is as good as removed.
  expected<void> remove(const object_key& key);

  /// Objects by their names and lengths, unverified. Hidden files whose writer lives no more are removed.
  std::vector<std::pair<object_key, std::uint64_t>> scan();

  /// The names of all instances that live, this one's included.
  [[nodiscard]] std::vector<std::uint64_t> members() const;

  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }

 private:
  dram_tier(std::filesystem::path folder, std::uint64_t name, int lock)
      : folder_(std::move(folder)), name_(name), lock_(lock) {}

  std::filesystem::path folder_;
  std::uint64_t name_;
  int lock_;
  std::uint64_t next_ = 0;
};

}  // namespace shoal::cache
