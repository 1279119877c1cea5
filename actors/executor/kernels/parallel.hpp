// How kernels get threads: the caller's own pool, so that there is one team per compute thread in the process.
#pragma once

#include <cstdint>
#include <functional>

namespace shoal::kernels {

/// Runs `part(i)` for each i below `parts`, on one or more threads, and returns when all are done. `part` does not
/// throw.
struct parallel {
  int threads = 1;
  std::function<void(std::int64_t parts, const std::function<void(std::int64_t)>& part)> run;

  /// All on the calling thread.
  static parallel none();
};

inline parallel parallel::none() {
  return {1, [](std::int64_t parts, const std::function<void(std::int64_t)>& part) {
            for (std::int64_t i = 0; i < parts; ++i) part(i);
          }};
}

}  // namespace shoal::kernels
