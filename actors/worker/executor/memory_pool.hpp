// Memory of values that died is used again by the next ones. glibc gives large blocks back to the kernel at once, and
// page faults then cost about 5% of a run.
//
// One pool per model, so that unloading the model frees it. While a `scope` lives, what ATen allocates on this thread
// comes from its pool; a block returns to the pool it came from, on whatever thread its tensor ends, and is freed if
// the pool is gone by then. What a pool keeps is at most the peak of one run: blocks that the last `trim_period` runs
// did not need are freed. An allocation larger than the machine's memory throws c10::OutOfMemoryError.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace shoal::worker::executor {

class memory_pool : public std::enable_shared_from_this<memory_pool> {
 public:
  static std::shared_ptr<memory_pool> make();
  ~memory_pool();
  memory_pool(const memory_pool&) = delete;
  memory_pool& operator=(const memory_pool&) = delete;

  /// Ends reuse: idle blocks are freed now, the others when their tensors end.
  void close();

  /// Call after each run.
  void finish_run();

  [[nodiscard]] std::uint64_t idle_bytes() const;

  /// Makes `pool` the source of this thread's allocations; null: the heap.
  class scope {
   public:
    explicit scope(memory_pool* pool) noexcept;
    ~scope();
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

   private:
    memory_pool* outer_;
  };

 private:
  friend struct pool_access;
  static constexpr std::uint32_t trim_period = 64;

  /// Blocks of one size that are not in use.
  struct bucket {
    std::vector<void*> idle;
    std::size_t least_idle = 0;  ///< since the last trim: so many were never needed
  };

  memory_pool() = default;
  void* take(std::size_t bucket);
  void give_back(void* block, std::size_t bucket) noexcept;
  void trim() noexcept;

  mutable std::mutex mutex_;
  std::array<bucket, 472> buckets_;  ///< eight for each power of two, from 2^5 to 2^63
  std::uint32_t runs_ = 0;
  bool closed_ = false;
};

}  // namespace shoal::worker::executor
