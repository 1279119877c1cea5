// One arena for a model's runs and a memory plan per shape bucket. The first run of a bucket is recorded, the next ones
// take their blocks from the arena where the plan has put them; only one run is at a time, so all plans share the
// arena.
//
// A plan is never trusted: a block is handed out only if it is no larger than planned and no block that shares bytes
// with it is alive. A run that departs from its plan (a larger shape of the bucket, sizes that come from values) goes
// on without it, and the bucket is recorded again, widened; one whose runs differ in more than size gets no plan. At
// most `max_buckets` are kept, the least recently used goes. Owned by a memory_pool and called under its mutex; holds
// no block beyond its own arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "executor/memory_plan.hpp"

namespace shoal::executor {

class shape_arena {
 public:
  static constexpr std::size_t max_buckets = 64;
  static constexpr std::size_t max_allocations = 2048;  ///< of a run that is planned
  static constexpr std::uint32_t max_departures = 4;    ///< until a bucket gets no plan any more

  /// `alignment` of every block; `margin` bytes in front of each are the caller's.
  shape_arena(std::size_t alignment, std::size_t margin) : alignment_(alignment), margin_(margin) {}

  /// A run of this bucket begins; ends with `finish` (it succeeded) or `abandon`.
  void begin(std::uint64_t bucket);
  void finish();
  void abandon();

  struct placement {
    std::byte* block = nullptr;  ///< null: not from the arena
    std::uint32_t index = 0;
    std::uint64_t run = 0;  ///< not zero: tell `release` when it ends
  };
  placement allocate(std::size_t bytes);
  void release(const placement& block);

  /// No block of the arena is alive.
  [[nodiscard]] bool idle() const noexcept { return alive_ == 0; }
  [[nodiscard]] std::size_t bytes() const noexcept { return size_; }
  [[nodiscard]] std::size_t plans() const noexcept;

  /// Frees the arena if it is idle and no run since the last trim needed (so much of) it.
  void trim();
  /// Frees everything that is idle; for good.
  void close();

 private:
  enum class mode : std::uint8_t { off, recording, replaying };
  struct bucket {
    allocation_trace trace;
    std::optional<memory_plan> plan;
    std::uint32_t departures = 0;
    std::uint64_t used = 0;  ///< number of the last run
  };
  struct aligned_free {
    void operator()(std::byte* block) const noexcept;
  };

  bool prepare_replay(const memory_plan& plan);
  void drop_oldest();
  void free_arena();

  std::size_t alignment_;
  std::size_t margin_;
  std::unordered_map<std::uint64_t, bucket> buckets_;
  bucket* current_ = nullptr;
  mode mode_ = mode::off;
  allocation_trace recording_;
  std::uint64_t run_ = 0;
  std::uint32_t next_ = 0;
  bool departed_ = false;
  bool closed_ = false;

  std::unique_ptr<std::byte, aligned_free> arena_;
  std::size_t size_ = 0;
  std::size_t needed_ = 0;           ///< since the last trim
  std::vector<std::uint64_t> live_;  ///< bit i: allocation i of the current plan is alive
  std::size_t alive_ = 0;
};

}  // namespace shoal::executor
