// A static memory plan: where in one arena each allocation of a run lies, so that two share bytes only if they never
// live at the same time.
//
// Lifetimes are not derived from the graph but observed in a run: every allocation and release that ATen makes, those
// inside operators too. So aliases, in-place operators and whatever keeps a tensor alive are respected by construction.
// Time is counted in allocations: one made as number i and released after number e - 1 was made lives in [i, e).
// Placement is greedy by size into the smallest gap that fits: Y. Pisarchyk and J. Lee, "Efficient Memory Management
// for Deep Neural Net Inference", 2020, §5.2. Plain data without LibTorch; `shape_arena` uses it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace shoal::executor {

/// What one run allocated, in order. An allocation that outlives the run (a result) stays `unended`.
struct allocation_trace {
  static constexpr std::uint32_t unended = std::numeric_limits<std::uint32_t>::max();
  struct allocation {
    std::size_t bytes = 0;
    std::uint32_t end = unended;
  };
  std::vector<allocation> allocations;

  std::uint32_t begin(std::size_t bytes) {
    allocations.push_back({bytes, unended});
    return static_cast<std::uint32_t>(allocations.size() - 1);
  }
  void end(std::uint32_t index) { allocations[index].end = static_cast<std::uint32_t>(allocations.size()); }

  /// Makes this trace cover `other` too: the larger sizes, the longer lives. False, and nothing changed: the runs made
  /// different numbers of allocations.
  bool cover(const allocation_trace& other);
};

struct memory_plan {
  static constexpr std::size_t outside = std::numeric_limits<std::size_t>::max();

  std::size_t arena_bytes = 0;
  std::vector<std::size_t> bytes;                  ///< the most that allocation i may ask for
  std::vector<std::size_t> offsets;                ///< of allocation i in the arena; `outside`: it outlives the run
  std::vector<std::vector<std::uint64_t>> shares;  ///< bit j of shares[i]: i and j have bytes in common

  /// Offsets are multiples of `alignment`, and so are the sizes reserved, `margin` bytes in front of each included.
  static memory_plan make(const allocation_trace& trace, std::size_t alignment, std::size_t margin);
};

}  // namespace shoal::executor
