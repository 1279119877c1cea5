#include "executor/kernels/layer_norm.hpp"

#include <algorithm>

namespace shoal::kernels {

namespace {

/// Elements for which waking another thread pays.
constexpr std::int64_t work_of_a_thread = 1 << 15;

}  // namespace

void layer_norm(const norm_task& task, std::int64_t rows, const parallel& team, instruction_set which) {
  if (rows <= 0 || task.width <= 0) return;
  const auto& kernels = kernels_of(which);
  const auto parts = std::min<std::int64_t>({team.threads, rows, rows * task.width / work_of_a_thread});
  if (parts <= 1) return kernels.layer_norm(task, 0, rows);
  team.run(parts, [&](std::int64_t part) { kernels.layer_norm(task, rows * part / parts, rows * (part + 1) / parts); });
}

}  // namespace shoal::kernels
