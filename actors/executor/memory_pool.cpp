#include "executor/memory_pool.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstdlib>
#include <new>
#include <string>

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

namespace shoal::executor {

namespace {

constexpr std::size_t alignment = 64;  // as c10's own allocator: whole cache lines and AVX-512 registers
constexpr std::size_t smallest = 64;
constexpr std::size_t smallest_log = 5;  // of smallest - 1

thread_local memory_pool* current = nullptr;
thread_local bool is_loading = false;
constexpr std::size_t own_mapping = 256 << 10;  // smaller blocks would waste parts of pages

/// In front of every block. The data follows, so that c10's raw interface (context == data) works.
struct header {
  std::shared_ptr<memory_pool> pool;  ///< null: the heap
  std::size_t bucket = 0;
  std::size_t mapped = 0;  ///< bytes of the mapping that begins here; 0: from the heap
  shape_arena::placement placed;
};
static_assert(sizeof(header) <= alignment);

header* header_of(void* data) { return reinterpret_cast<header*>(static_cast<std::byte*>(data) - alignment); }

/// Sizes in steps of an eighth of a power of two: at most 12.5% is lost.
std::size_t bucket_of(std::size_t bytes) {
  const auto size = std::max(bytes, smallest) - 1;
  const auto log = static_cast<std::size_t>(std::bit_width(size)) - 1;
  return (log - smallest_log) * 8 + ((size >> (log - 3)) & 7);
}

std::size_t size_of_bucket(std::size_t bucket) {
  const auto log = bucket / 8 + smallest_log;
  return (std::size_t{1} << log) + (((bucket % 8) + 1) << (log - 3));
}

std::size_t physical_memory() {
  static const auto bytes =
      static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

void* allocate_block(std::size_t bytes) {
  const auto rounded = (bytes + alignment - 1) / alignment * alignment + alignment;
  const bool maps = is_loading && current == nullptr && bytes >= own_mapping;
  void* raw = nullptr;
  if (bytes <= physical_memory() && maps) {
    raw = ::mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) raw = nullptr;
  } else if (bytes <= physical_memory()) {
    raw = std::aligned_alloc(alignment, rounded);
  }
  if (raw == nullptr)
    TORCH_CHECK_WITH(OutOfMemoryError, false, "an operator asked for " + std::to_string(bytes) + " bytes of memory");
  auto* front = ::new (raw) header();
  if (maps) front->mapped = rounded;
  return static_cast<std::byte*>(raw) + alignment;
}

void free_block(void* data) noexcept {
  auto* front = header_of(data);
  const auto mapped = front->mapped;
  front->~header();
  if (mapped != 0)
    ::munmap(front, mapped);
  else
    std::free(front);
}

}  // namespace

/// What the allocator, which is not a member, needs of a pool.
struct pool_access {
  static void* take(memory_pool& pool, std::size_t bytes, std::size_t bucket, shape_arena::placement& placed) {
    return pool.take(bytes, bucket, placed);
  }
  static void give_back(memory_pool& pool, void* block, std::size_t bucket, shape_arena::placement placed) {
    pool.give_back(block, bucket, placed);
  }
};

namespace {

void release(void* data) {
  if (data == nullptr) return;  // oneDNN frees what it never allocated
  auto* front = header_of(data);
  // Moved out first: this may be the last owner of the pool.
  if (const auto pool = std::move(front->pool))
    pool_access::give_back(*pool, data, front->bucket, front->placed);
  else
    free_block(data);
}

class pooled_allocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* data = nullptr;
    if (bytes > 0 && current == nullptr) {
      data = allocate_block(bytes);
    } else if (bytes > 0) {
      const auto bucket = bucket_of(bytes);
      shape_arena::placement placed;
      data = pool_access::take(*current, bytes, bucket, placed);
      if (placed.block != nullptr)
        ::new (header_of(data)) header();
      else if (data == nullptr)
        data = allocate_block(bytes > physical_memory() ? bytes : size_of_bucket(bucket));
      auto* front = header_of(data);
      front->pool = current->shared_from_this();
      front->bucket = bucket;
      front->placed = placed;
    }
    return {data, data, bytes > 0 ? &release : &c10::NoDelete, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
};

/// Before main: no block may be freed by another allocator than the one it came from.
const bool installed = [] {
  static pooled_allocator allocator;
  c10::SetCPUAllocator(&allocator, 1);
  return true;
}();

}  // namespace

memory_pool::scope::scope(memory_pool* pool, std::optional<std::uint64_t> shape_bucket) : outer_(current) {
  if (pool != nullptr && shape_bucket) {
    std::lock_guard lock(pool->mutex_);
    pool->arena_.begin(*shape_bucket);
    planned_ = pool;
  }
  current = pool;
}

memory_pool::scope::~scope() {
  current = outer_;
  if (planned_ == nullptr) return;
  std::lock_guard lock(planned_->mutex_);
  planned_->arena_.abandon();  // has no effect on a run that was finished
}

memory_pool::loading::loading() noexcept : outer_(is_loading) { is_loading = true; }
memory_pool::loading::~loading() { is_loading = outer_; }

memory_pool::memory_pool() : arena_(alignment, alignment) {}

std::shared_ptr<memory_pool> memory_pool::make() { return std::shared_ptr<memory_pool>(new memory_pool()); }

memory_pool::~memory_pool() { close(); }

void memory_pool::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  for (auto& each : buckets_) {
    for (auto* block : each.idle) free_block(block);
    each.idle.clear();
  }
  arena_.close();
}

void* memory_pool::take(std::size_t bytes, std::size_t bucket, shape_arena::placement& placed) {
  std::lock_guard lock(mutex_);
  placed = arena_.allocate(bytes);
  if (placed.block != nullptr) return placed.block;
  auto& from = buckets_[bucket];
  if (from.idle.empty()) return nullptr;
  auto* block = from.idle.back();
  from.idle.pop_back();
  from.least_idle = std::min(from.least_idle, from.idle.size());
  return block;
}

/// `placed` by value: the header it comes from may lie in the arena, which may go here.
void memory_pool::give_back(void* block, std::size_t bucket, shape_arena::placement placed) noexcept {
  std::lock_guard lock(mutex_);
  if (placed.run != 0) arena_.release(placed);
  if (placed.block != nullptr) return;
  if (closed_)
    free_block(block);
  else
    buckets_[bucket].idle.push_back(block);
}

void memory_pool::finish_run() {
  std::lock_guard lock(mutex_);
  arena_.finish();
  if (++runs_ % trim_period == 0) trim();
}

void memory_pool::trim() noexcept {
  arena_.trim();
  for (auto& each : buckets_) {
    for (; each.least_idle > 0; --each.least_idle) {
      free_block(each.idle.front());
      each.idle.erase(each.idle.begin());
    }
    each.least_idle = each.idle.size();
  }
}

std::uint64_t memory_pool::idle_bytes() const {
  std::lock_guard lock(mutex_);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) bytes += buckets_[i].idle.size() * size_of_bucket(i);
  return bytes;
}

std::uint64_t memory_pool::arena_bytes() const {
  std::lock_guard lock(mutex_);
  return arena_.bytes();
}

}  // namespace shoal::executor
