// The tiers of one cache instance as one place that does blocking jobs: the disk below (may be missing), the memory
// tier above. Verifies whatever passes through: the name of what is given, the checksum of what is filled. What is
// damaged is removed, so that it is fetched again from below; it is never handed on.
//
// Opened by the service before anybody can ask, then owned by the storage actor's thread.
#pragma once

#include <functional>
#include <memory>

#include <caf/actor_system.hpp>

#include "cache/dram_tier.hpp"
#include "cache/object_store.hpp"
#include "core/run_loop.hpp"
#include "protocol/actors.hpp"

namespace shoal::cache {

class storage {
 public:
  struct options {
    std::filesystem::path disk;    ///< folder of this instance's own; empty: memory only
    std::filesystem::path memory;  ///< folder on tmpfs, shared by the host
  };
  /// Errors: those of object_store::open and dram_tier::open.
  static expected<std::unique_ptr<storage>> open(const options& where);
  /// Over these tiers; `disk` may be null.
  storage(std::unique_ptr<object_store> disk, std::unique_ptr<dram_tier> memory, std::uint64_t name);

  protocol::object_done run(const protocol::object_job& job);

  /// What lies in memory, after each file was verified and the damaged ones removed: adoption after a restart.
  /// `quarantined` in those that were removed.
  protocol::object_done adopt();

  [[nodiscard]] std::vector<std::pair<protocol::object_key, std::uint64_t>> on_disk();
  [[nodiscard]] bool has_disk() const noexcept { return disk_ != nullptr; }
  [[nodiscard]] std::uint64_t name() const noexcept { return name_; }
  [[nodiscard]] const dram_tier& memory() const noexcept { return *memory_; }

 private:
  using object = protocol::object_done::object;

  void keep(const protocol::object_job& job, protocol::object_done& done);
  object fill(const protocol::object_job::object& wanted);
  object check(const protocol::object_key& key);

  std::unique_ptr<object_store> disk_;
  std::unique_ptr<dram_tier> memory_;
  std::uint64_t name_;
};

/// Does jobs on a thread of its own and answers who sent them on `loop`, which must outlive the actor.
protocol::storage_actor spawn_storage(caf::actor_system& system, std::shared_ptr<storage> tiers, run_loop& loop);

}  // namespace shoal::cache
