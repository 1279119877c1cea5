#include "executor/kernels/packed_linear.hpp"

#include <algorithm>

#include "executor/kernels/panel_split.hpp"
#include "executor/kernels/scratch.hpp"

namespace shoal::kernels {

namespace {

/// Multiplications for which waking another thread pays.
constexpr std::int64_t work_of_a_thread = 1 << 18;

}  // namespace

std::string packed_layout() { return "linear-fp32-panel16-v" + std::to_string(packed_linear_version); }

std::optional<std::int64_t> packed_elements(std::int64_t columns, std::int64_t inner) noexcept {
  if (columns < 0 || inner < 0) return std::nullopt;
  std::int64_t padded = 0;
  std::int64_t count = 0;
  std::int64_t bytes = 0;
  if (__builtin_add_overflow(columns, panel_width - 1, &padded) ||
      __builtin_mul_overflow(padded / panel_width * panel_width, inner, &count) ||
      __builtin_mul_overflow(count, static_cast<std::int64_t>(sizeof(float)), &bytes))
    return std::nullopt;
  return count;
}

void pack_weight(const float* weight, std::int64_t columns, std::int64_t inner, std::int64_t column_stride,
                 std::int64_t inner_stride, float* to) noexcept {
  // In squares of 16 x 16, so that each cache line that is read or written is used whole.
  for (std::int64_t column = 0; column < columns; column += panel_width) {
    const auto filled = std::min(panel_width, columns - column);
    for (std::int64_t first = 0; first < inner; first += panel_width) {
      const auto last = std::min(inner, first + panel_width);
      for (std::int64_t c = 0; c < panel_width; ++c)
        for (auto k = first; k < last; ++k)
          to[k * panel_width + c] = c < filled ? weight[(column + c) * column_stride + k * inner_stride] : 0.0F;
    }
    to += inner * panel_width;
  }
}

std::optional<activation> parse_activation(std::string_view name) noexcept {
  if (name == "none") return activation::none;
  if (name == "relu") return activation::relu;
  if (name == "gelu") return activation::gelu;
  if (name == "gelu_tanh") return activation::gelu_tanh;
  if (name == "silu") return activation::silu;
  return std::nullopt;
}

void linear(const linear_task& task, const parallel& team, instruction_set which) {
  if (task.rows <= 0 || task.columns <= 0) return;
  const auto& kernels = kernels_of(which);
  const panel_split split(task.rows, task.inner, task.columns, work_of_a_thread, team);
  const auto scratches = pays_to_copy(task) ? make_scratch(split.parts * linear_scratch) : scratch();
  split(team, [&](std::int64_t part, auto first_row, auto last_row, auto first_panel, auto last_panel) {
    auto* own = scratches ? scratches.get() + part * linear_scratch : nullptr;
    kernels.linear(task, first_row, last_row, first_panel, last_panel, own);
  });
}

}  // namespace shoal::kernels
