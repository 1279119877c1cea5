// What outlives a simulated process: stores in memory behind the interfaces of the real ones, which lose at a crash
// what the real ones lose.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "cache/dram_tier.hpp"
#include "cache/object_store.hpp"
#include "scheduler/profile_store.hpp"
#include "unit/simulation/checker.hpp"

namespace shoal::test {

/// A scheduler's file of profiles.
struct profile_text {
  std::string lies_there;
  std::string acknowledged;  ///< what `save` has returned from
};

class remembered_profiles final : public scheduler::profile_store {
 public:
  remembered_profiles(profile_text& kept, checker& checks) : kept_(kept), checks_(checks) {}

  scheduler::profile_book load() override {
    if (kept_.lies_there != kept_.acknowledged) checks_.fail("profiles that were kept are lost");
    if (kept_.lies_there.empty()) return {};
    auto book = scheduler::profile_book::from_text(kept_.lies_there);
    if (!book) checks_.fail("profiles that were kept cannot be read: " + book.error().message);
    return book ? *std::move(book) : scheduler::profile_book();
  }
  void save(const scheduler::profile_book& book) override {
    if (is_over_) return;
    kept_.lies_there = kept_.acknowledged = book.to_text();
  }
  /// Nothing is written any more.
  void crash() { is_over_ = true; }

 private:
  profile_text& kept_;
  checker& checks_;
  bool is_over_ = false;
};

/// What a folder on a disk or on tmpfs has of objects.
struct kept_object {
  std::vector<std::byte> bytes;
  std::uint64_t checksum = 0;
  [[nodiscard]] bool verifies(const protocol::object_key& key) const;
};
using kept_objects = std::map<protocol::object_key, kept_object>;

/// A cache's disk. What was synced survives; what was not is lost with the process.
struct cache_disk {
  std::uint64_t identity = 0;
  kept_objects objects;
  std::set<protocol::object_key> acknowledged;  ///< a worker has been told that they are kept
  bool is_cut_off = false;                      ///< the process dies: no commit comes through any more
};

class remembered_objects final : public cache::object_store {
 public:
  /// Part `errors` of the commits fails.
  remembered_objects(cache_disk& on, timeline& time, double errors) : on_(on), time_(time), errors_(errors) {}

  std::unique_ptr<batch> begin() override;
  expected<std::uint64_t> read(const object_key& key, const sink& take) override;
  expected<void> forget(const object_key& key) override;
  std::vector<std::pair<object_key, std::uint64_t>> index() override;
  [[nodiscard]] std::uint64_t identity() const override { return on_.identity; }

 private:
  class pending;
  cache_disk& on_;
  timeline& time_;
  double errors_;
};

/// The memory tier of the host that all caches and workers of a world share.
struct host_memory {
  kept_objects objects;
  std::set<std::uint64_t> members;  ///< names of the caches that live
};

class remembered_tier final : public cache::dram_tier {
 public:
  remembered_tier(host_memory& of, std::uint64_t name) : of_(of), name_(name) { of_.members.insert(name); }
  ~remembered_tier() override { of_.members.erase(name_); }
  remembered_tier(const remembered_tier&) = delete;
  remembered_tier& operator=(const remembered_tier&) = delete;

  expected<std::unique_ptr<writer>> begin(const object_key& key, std::uint64_t size,
                                          std::optional<std::uint64_t> checksum) override;
  [[nodiscard]] expected<std::uint64_t> check(const object_key& key) const override;
  expected<void> remove(const object_key& key) override;
  std::vector<std::pair<object_key, std::uint64_t>> scan() override;
  [[nodiscard]] std::vector<std::uint64_t> members() const override { return {of_.members.begin(), of_.members.end()}; }

 private:
  host_memory& of_;
  std::uint64_t name_;
};

}  // namespace shoal::test
