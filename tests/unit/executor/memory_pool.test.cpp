#include <doctest/doctest.h>

#include <cstring>
#include <thread>

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include "executor/memory_pool.hpp"

namespace {

using shoal::executor::memory_pool;

c10::DataPtr allocate(std::size_t bytes) { return c10::GetCPUAllocator()->allocate(bytes); }

}  // namespace

TEST_CASE("a block that was given back is the next block of its size") {
  const auto pool = memory_pool::make();
  const memory_pool::scope reuse(pool.get());
  const void* first = allocate(1 << 20).get();
  CHECK(pool->idle_bytes() >= 1 << 20);
  auto second = allocate(1 << 20);
  CHECK(second.get() == first);
  CHECK(pool->idle_bytes() == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(second.get()) % 64 == 0);
}

TEST_CASE("every size gets as many bytes as it asks for, aligned") {
  const auto pool = memory_pool::make();
  const memory_pool::scope reuse(pool.get());
  for (std::size_t size = 1; size < 5000; size += 7) {
    const auto block = allocate(size);
    std::memset(block.get(), 0x5A, size);
    CHECK(reinterpret_cast<std::uintptr_t>(block.get()) % 64 == 0);
  }
  CHECK(allocate(0).get() == nullptr);
}

TEST_CASE("outside of a scope memory comes from the heap and does not enter a pool") {
  const auto pool = memory_pool::make();
  { const auto plain = allocate(1000); }
  CHECK(pool->idle_bytes() == 0);
  const memory_pool::scope reuse(pool.get());
  {
    const memory_pool::scope none(nullptr);
    const auto plain = allocate(1000);
  }
  CHECK(pool->idle_bytes() == 0);
}

TEST_CASE("a block outlives its pool and may end on another thread") {
  auto pool = memory_pool::make();
  c10::DataPtr kept;
  {
    const memory_pool::scope reuse(pool.get());
    kept = allocate(4096);
  }
  pool->close();
  pool.reset();
  std::memset(kept.get(), 1, 4096);
  std::thread([block = std::move(kept)]() mutable { block = {}; }).join();
}

TEST_CASE("what is allocated while a model loads is aligned, holds its bytes, and may end on another thread") {
  const memory_pool::loading lasting;
  for (const std::size_t bytes : {1000UL, 300UL << 10, 5UL << 20}) {
    auto block = allocate(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(block.get()) % 64 == 0);
    std::memset(block.get(), 0x5A, bytes);
    CHECK(static_cast<const unsigned char*>(block.get())[bytes - 1] == 0x5A);
    std::thread([ended = std::move(block)]() mutable { ended = {}; }).join();
  }
}

TEST_CASE("blocks the last runs did not need are freed") {
  const auto pool = memory_pool::make();
  const memory_pool::scope reuse(pool.get());
  { const auto large = allocate(1 << 24); }
  CHECK(pool->idle_bytes() >= 1 << 24);
  for (int run = 0; run < 200; ++run) {
    const auto small = allocate(256);
    pool->finish_run();
  }
  CHECK(pool->idle_bytes() < 1 << 20);
}

TEST_CASE("more than the machine's memory is refused, not tried") {
  const auto pool = memory_pool::make();
  const memory_pool::scope reuse(pool.get());
  CHECK_THROWS_AS(allocate(std::size_t{1} << 50), c10::OutOfMemoryError);
  CHECK_THROWS_AS(allocate(~std::size_t{0}), c10::OutOfMemoryError);
}
