// How a linear layer is shared among threads: few rows by panels, so that each reads its own weights; many by rows, and
// the panels come from the shared cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/parallel.hpp"

namespace shoal::kernels {

constexpr std::int64_t panels_of(std::int64_t columns) { return (columns + panel_width - 1) / panel_width; }

struct panel_split {
  std::int64_t rows = 0;
  std::int64_t panels = 0;
  std::int64_t parts = 1;
  bool by_rows = false;

  /// `work_of_a_thread`: multiplications for which waking another thread pays.
  panel_split(std::int64_t rows_given, std::int64_t inner, std::int64_t columns, std::int64_t work_of_a_thread,
              const parallel& team)
      : rows(rows_given), panels(panels_of(columns)) {
    const auto work = static_cast<double>(rows) * static_cast<double>(inner * panels * panel_width);
    const auto most = static_cast<double>(std::min<std::int64_t>(team.threads, std::max(rows / 64, panels / 2)));
    parts = std::max(std::int64_t{1},
                     static_cast<std::int64_t>(std::min(work / static_cast<double>(work_of_a_thread), most)));
    by_rows = parts == 1 || rows >= 64 * parts;
  }

  /// Calls run(part, first_row, last_row, first_panel, last_panel).
  template <class Run>
  void operator()(const parallel& team, const Run& run) const {
    if (parts == 1) return run(std::int64_t{0}, std::int64_t{0}, rows, std::int64_t{0}, panels);
    const auto whole = by_rows ? rows : panels;
    const auto unit = by_rows ? std::int64_t{1} : std::int64_t{2};
    const auto units = (whole + unit - 1) / unit;
    team.run(parts, [&](std::int64_t part) {
      const auto first = std::min(whole, units * part / parts * unit);
      const auto last = std::min(whole, units * (part + 1) / parts * unit);
      if (first == last) return;
      if (by_rows)
        run(part, first, last, std::int64_t{0}, panels);
      else
        run(part, std::int64_t{0}, rows, first, last);
    });
  }
};

}  // namespace shoal::kernels
