#include "executor/memory_plan.hpp"

#include <algorithm>
#include <numeric>

namespace shoal::executor {

bool allocation_trace::cover(const allocation_trace& other) {
  if (allocations.size() != other.allocations.size()) return false;
  for (std::size_t i = 0; i < allocations.size(); ++i) {
    allocations[i].bytes = std::max(allocations[i].bytes, other.allocations[i].bytes);
    allocations[i].end = std::max(allocations[i].end, other.allocations[i].end);
  }
  return true;
}

memory_plan memory_plan::make(const allocation_trace& trace, std::size_t alignment, std::size_t margin) {
  const auto& all = trace.allocations;
  const auto count = all.size();
  memory_plan made;
  made.offsets.assign(count, outside);
  made.shares.assign(count, {});
  std::vector<std::size_t> reserved(count);
  for (std::size_t i = 0; i < count; ++i) {
    made.bytes.push_back(all[i].bytes);
    reserved[i] = (all[i].bytes + margin + alignment - 1) / alignment * alignment;
  }
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  std::erase_if(order, [&](auto i) { return all[i].end == allocation_trace::unended; });
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return reserved[a] > reserved[b]; });

  std::vector<std::uint32_t> placed;  // by offset
  for (const auto i : order) {
    auto best = outside;
    auto best_gap = outside;
    std::size_t free_from = 0;
    for (const auto j : placed) {
      const bool together = std::max<std::size_t>(i, j) < std::min(all[i].end, all[j].end);
      if (!together) continue;
      if (made.offsets[j] > free_from) {
        const auto gap = made.offsets[j] - free_from;
        if (gap >= reserved[i] && gap < best_gap) {
          best = free_from;
          best_gap = gap;
        }
      }
      free_from = std::max(free_from, made.offsets[j] + reserved[j]);
    }
    made.offsets[i] = best == outside ? free_from : best;
    made.arena_bytes = std::max(made.arena_bytes, made.offsets[i] + reserved[i]);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](auto a, auto b) { return made.offsets[a] < made.offsets[b]; }),
                  i);
  }
  for (const auto i : placed) {
    made.shares[i].assign((count + 63) / 64, 0);
    for (const auto j : placed)
      if (i != j && made.offsets[i] < made.offsets[j] + reserved[j] && made.offsets[j] < made.offsets[i] + reserved[i])
        made.shares[i][j / 64] |= std::uint64_t{1} << (j % 64);
  }
  return made;
}

}  // namespace shoal::executor
