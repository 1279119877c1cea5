#include "executor/compute_team.hpp"

#include <ATen/Parallel.h>

namespace shoal::executor {

const kernels::parallel& compute_team() {
  static thread_local kernels::parallel threads{
      1, [](std::int64_t parts, const std::function<void(std::int64_t)>& part) {
        at::parallel_for(0, parts, 1, [&](std::int64_t begin, std::int64_t end) {
          for (auto i = begin; i < end; ++i) part(i);
        });
      }};
  threads.threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  return threads;
}

}  // namespace shoal::executor
