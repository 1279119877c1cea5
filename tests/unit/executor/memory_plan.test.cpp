#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include <c10/core/CPUAllocator.h>

#include "executor/memory_plan.hpp"
#include "executor/memory_pool.hpp"

namespace {

using namespace shoal::executor;

allocation_trace random_trace(std::mt19937& random) {
  allocation_trace trace;
  const auto count = 1 + random() % 60;
  for (std::size_t i = 0; i < count; ++i) trace.begin(1 + random() % 5000);
  for (std::size_t i = 0; i < count; ++i)
    if (random() % 8 != 0) trace.allocations[i].end = static_cast<std::uint32_t>(i + 1 + random() % (count - i));
  return trace;
}

c10::DataPtr allocate(std::size_t bytes) { return c10::GetCPUAllocator()->allocate(bytes); }

}  // namespace

TEST_CASE("blocks that live at the same time share no byte, whatever the trace") {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    CAPTURE(round);
    const auto trace = random_trace(random);
    const auto plan = memory_plan::make(trace, 64, 64);
    const auto& all = trace.allocations;
    std::size_t live_at_most = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].end == allocation_trace::unended) {
        CHECK(plan.offsets[i] == memory_plan::outside);
        continue;
      }
      CHECK(plan.offsets[i] % 64 == 0);
      CHECK(plan.offsets[i] + 64 + all[i].bytes <= plan.arena_bytes);
      std::size_t live = 0;
      for (std::size_t j = 0; j < all.size(); ++j) {
        if (plan.offsets[j] == memory_plan::outside) continue;
        if (j <= i && i < all[j].end) live += (all[j].bytes + 64 + 63) / 64 * 64;
        const bool overlap = plan.offsets[i] < plan.offsets[j] + 64 + all[j].bytes &&
                             plan.offsets[j] < plan.offsets[i] + 64 + all[i].bytes;
        if (i == j || !overlap) continue;
        CHECK((all[i].end <= j || all[j].end <= i));
        CHECK((plan.shares[i][j / 64] >> (j % 64) & 1) == 1);
      }
      live_at_most = std::max(live_at_most, live);
    }
    CHECK(plan.arena_bytes >= live_at_most);
  }
}

TEST_CASE("a chain of equal blocks needs the room of two") {
  allocation_trace trace;
  for (int i = 0; i < 10; ++i) {
    trace.begin(1000);
    if (i > 0) trace.end(static_cast<std::uint32_t>(i - 1));
  }
  CHECK(memory_plan::make(trace, 64, 0).arena_bytes == 2 * 1024);
}

TEST_CASE("the second run of a shape takes its blocks from the arena, and a result of the first is not touched") {
  const auto pool = memory_pool::make();
  const auto run = [&] {
    const memory_pool::scope scope(pool.get(), 1);
    auto first = allocate(5000);
    auto result = allocate(300);
    std::memset(result.get(), 0x11, 300);
    first = {};
    auto second = allocate(6000);
    std::memset(second.get(), 0x22, 6000);
    second = {};
    pool->finish_run();
    return result;
  };
  const auto kept = run();
  CHECK(pool->arena_bytes() == 0);
  for (int again = 0; again < 3; ++again) {
    const auto other = run();
    CHECK(pool->arena_bytes() == 6000 / 64 * 64 + 128);
    CHECK(other.get() != kept.get());
  }
  for (int i = 0; i < 300; ++i) CHECK(static_cast<const unsigned char*>(kept.get())[i] == 0x11);
}

TEST_CASE("a block that outlives its planned life is not given to another") {
  const auto pool = memory_pool::make();
  const auto run = [&](bool keeps) {
    const memory_pool::scope scope(pool.get(), 1);
    auto first = allocate(4096);
    std::memset(first.get(), 0x33, 4096);
    c10::DataPtr kept;
    if (keeps) kept = std::move(first);
    first = {};
    auto second = allocate(4096);
    std::memset(second.get(), 0x44, 4096);
    second = {};
    pool->finish_run();
    return kept;
  };
  run(false);
  const auto kept = run(true);
  REQUIRE(kept.get() != nullptr);
  for (int again = 0; again < 3; ++again) run(false);
  for (int i = 0; i < 4096; ++i) REQUIRE(static_cast<const unsigned char*>(kept.get())[i] == 0x33);
}

TEST_CASE("a larger shape of a bucket widens its plan; the arena goes with the pool while a block still lives") {
  auto pool = memory_pool::make();
  const auto run = [&](std::size_t bytes) {
    const memory_pool::scope scope(pool.get(), 1);
    { const auto block = allocate(bytes); }
    pool->finish_run();
  };
  run(1000);
  run(1000);
  CHECK(pool->arena_bytes() == 1024 + 64);
  run(3000);  // departs
  run(1000);  // recorded, joined with what was known: still 1000
  run(3000);  // departs again
  run(3000);  // recorded
  run(1000);
  CHECK(pool->arena_bytes() == 3008 + 64);

  c10::DataPtr kept;
  {
    const memory_pool::scope scope(pool.get(), 1);
    kept = allocate(2000);
  }
  pool->close();
  pool.reset();
  std::memset(kept.get(), 1, 2000);
}

TEST_CASE("runs of one bucket that differ in more than size end without a plan, and still get their memory") {
  const auto pool = memory_pool::make();
  for (int round = 0; round < 40; ++round) {
    const memory_pool::scope scope(pool.get(), 1);
    for (int i = 0; i <= round % 5; ++i) {
      const auto block = allocate(100U * static_cast<unsigned>(i + 1));
      REQUIRE(block.get() != nullptr);
      std::memset(block.get(), round, 100U * static_cast<unsigned>(i + 1));
    }
    pool->finish_run();
  }
}

TEST_CASE("a run that fails leaves no plan behind") {
  const auto pool = memory_pool::make();
  for (int round = 0; round < 3; ++round) {
    const memory_pool::scope scope(pool.get(), 1);
    const auto block = allocate(1000);
  }
  CHECK(pool->arena_bytes() == 0);
}
