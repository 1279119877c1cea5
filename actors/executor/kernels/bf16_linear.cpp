#include "executor/kernels/bf16_linear.hpp"

#include <algorithm>
#include <bit>

#include "executor/kernels/panel_split.hpp"
#include "executor/kernels/scratch.hpp"

namespace shoal::kernels {

namespace {

/// Multiplications for which waking another thread pays.
constexpr std::int64_t work_of_a_thread = 1 << 19;

/// To the nearest, ties to even; NaN stays NaN.
std::uint16_t nearest(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value != value) return static_cast<std::uint16_t>((bits >> 16) | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

}  // namespace

std::string bf16_layout() { return "linear-bf16-panel16x2-v" + std::to_string(bf16_linear_version); }

std::optional<std::int64_t> packed_bf16_elements(std::int64_t columns, std::int64_t inner) noexcept {
  if (columns < 0 || inner < 0) return std::nullopt;
  std::int64_t padded = 0;
  std::int64_t even = 0;
  std::int64_t count = 0;
  std::int64_t bytes = 0;
  if (__builtin_add_overflow(columns, panel_width - 1, &padded) || __builtin_add_overflow(inner, 1, &even) ||
      __builtin_mul_overflow(padded / panel_width * panel_width, even / 2 * 2, &count) ||
      __builtin_mul_overflow(count, static_cast<std::int64_t>(sizeof(std::uint16_t)), &bytes))
    return std::nullopt;
  return count;
}

void pack_bf16_weight(const float* weight, std::int64_t columns, std::int64_t inner, std::int64_t column_stride,
                      std::int64_t inner_stride, std::uint16_t* to) noexcept {
  for (std::int64_t column = 0; column < columns; column += panel_width)
    for (std::int64_t k = 0; k < inner; k += 2)
      for (std::int64_t c = column; c < column + panel_width; ++c)
        for (auto each = k; each < k + 2; ++each)
          *to++ =
              c < columns && each < inner ? nearest(weight[c * column_stride + each * inner_stride]) : std::uint16_t{0};
}

void bf16_linear(const bf16_linear_task& task, const parallel& team, instruction_set which) {
  if (task.rows <= 0 || task.columns <= 0) return;
  const auto& kernels = kernels_of(which);
  const panel_split split(task.rows, task.inner, task.columns, work_of_a_thread, team);
  const auto each = (bf16_linear_scratch(task.inner) + 1) / 2;  // of fp32
  const auto scratches = make_scratch(each * split.parts);
  split(team, [&](std::int64_t part, auto first_row, auto last_row, auto first_panel, auto last_panel) {
    kernels.bf16_linear(task, first_row, last_row, first_panel, last_panel,
                        reinterpret_cast<std::uint16_t*>(scratches.get() + part * each));
  });
}

}  // namespace shoal::kernels
