// Memory of values that died is used again by the next ones. glibc gives large blocks back to the kernel at once, and
// page faults then cost about 5% of a run.
//
// One pool per model, so that unloading the model frees it. While a `scope` lives, what ATen allocates on this thread
// comes from its pool; a block returns to the pool it came from, on whatever thread its tensor ends, and is freed if
// the pool is gone by then. What a pool keeps is at most the peak of one run: blocks that the last `trim_period` runs
// did not need are freed. An allocation larger than the machine's memory throws c10::OutOfMemoryError.
// A scope that names a shape bucket gets its blocks from one arena by the bucket's memory plan (shape_arena.hpp); what
// has no place there comes from the pool.
// While a `loading` lives, large blocks are mappings of their own: they last as long as the model, and glibc would keep
// what was freed at the top of another thread's heap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "executor/shape_arena.hpp"

namespace shoal::executor {

class memory_pool : public std::enable_shared_from_this<memory_pool> {
 public:
  static std::shared_ptr<memory_pool> make();
  ~memory_pool();
  memory_pool(const memory_pool&) = delete;
  memory_pool& operator=(const memory_pool&) = delete;

  /// Ends reuse: idle blocks are freed now, the others when their tensors end.
  void close();

  /// Call after each run, within its scope.
  void finish_run();

  [[nodiscard]] std::uint64_t idle_bytes() const;   ///< without the arena
  [[nodiscard]] std::uint64_t arena_bytes() const;  ///< the largest plan of late

  /// Makes `pool` the source of this thread's allocations; null: the heap. One run at a time names a shape bucket.
  class scope {
   public:
    explicit scope(memory_pool* pool, std::optional<std::uint64_t> shape_bucket = std::nullopt);
    ~scope();
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

   private:
    memory_pool* outer_;
    memory_pool* planned_ = nullptr;
  };

  /// What this thread allocates meanwhile, outside of a pool, goes back to the system the moment it is freed.
  class loading {
   public:
    loading() noexcept;
    ~loading();
    loading(const loading&) = delete;
    loading& operator=(const loading&) = delete;

   private:
    bool outer_;
  };

 private:
  friend struct pool_access;
  static constexpr std::uint32_t trim_period = 64;

  /// Blocks of one size that are not in use.
  struct bucket {
    std::vector<void*> idle;
    std::size_t least_idle = 0;  ///< since the last trim: so many were never needed
  };

  memory_pool();
  void* take(std::size_t bytes, std::size_t bucket, shape_arena::placement& placed);
  void give_back(void* block, std::size_t bucket, shape_arena::placement placed) noexcept;
  void trim() noexcept;

  mutable std::mutex mutex_;
  std::array<bucket, 472> buckets_;  ///< eight for each power of two, from 2^5 to 2^63
  shape_arena arena_;
  std::uint32_t runs_ = 0;
  bool closed_ = false;
};

}  // namespace shoal::executor
