#include "executor/kernels/quantised_rows.hpp"

#include <algorithm>

namespace shoal::kernels {

namespace {

/// Elements for which waking another thread pays.
constexpr std::int64_t work_of_a_thread = 1 << 16;

}  // namespace

void quantise_rows(const quantise_task& task, std::int64_t rows, const parallel& team, instruction_set which) {
  if (rows <= 0) return;
  const auto& kernels = kernels_of(which);
  const auto parts = std::min<std::int64_t>({team.threads, rows, rows * task.width / work_of_a_thread});
  if (parts <= 1) return kernels.quantise(task, 0, rows);
  team.run(parts, [&](std::int64_t part) { kernels.quantise(task, rows * part / parts, rows * (part + 1) / parts); });
}

}  // namespace shoal::kernels
