#include "executor/kernels/int8_linear.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "executor/kernels/panel_split.hpp"
#include "executor/kernels/quantised_rows.hpp"
#include "executor/kernels/scratch.hpp"

namespace shoal::kernels {

namespace {

/// Multiplications for which waking another thread pays.
constexpr std::int64_t work_of_a_thread = 1 << 20;
constexpr std::int64_t work_of_a_thread_widened = 1 << 18;

/// Shares of the largest magnitude that clipping tries.
constexpr std::array<float, 5> shares{1.0F, 0.95F, 0.9F, 0.85F, 0.8F};

std::int32_t nearest(float value) { return static_cast<std::int32_t>(std::lrintf(std::clamp(value, -127.0F, 127.0F))); }

double squared_error(const std::vector<float>& column, float scale) {
  double error = 0;
  for (const auto weight : column) {
    const double apart = static_cast<double>(nearest(weight / scale)) * scale - weight;
    error += apart * apart;
  }
  return error;
}

/// 0: the column is all but zeros. NaN: it is not finite.
float scale_of(const std::vector<float>& column, bool clip) {
  float largest = 0;
  for (const auto weight : column) {
    if (!std::isfinite(weight)) return std::numeric_limits<float>::quiet_NaN();
    largest = std::max(largest, std::abs(weight));
  }
  // Below this the inverse would not be a number.
  if (largest < 1e-34F) return 0;
  float best = largest / 127.0F;
  if (!clip) return best;
  double least = squared_error(column, best);
  for (const auto share : shares) {
    const float scale = largest * share / 127.0F;
    if (const double error = squared_error(column, scale); error < least) {
      least = error;
      best = scale;
    }
  }
  return best;
}

}  // namespace

std::string int8_layout() { return "linear-int8-panel16x4-v" + std::to_string(int8_linear_version); }

std::optional<std::int64_t> packed_int8_bytes(std::int64_t columns, std::int64_t inner) noexcept {
  if (columns < 0 || inner < 0 || inner > most_int8_inner) return std::nullopt;
  std::int64_t padded = 0;
  std::int64_t bytes = 0;
  if (__builtin_add_overflow(columns, panel_width - 1, &padded)) return std::nullopt;
  padded = padded / panel_width * panel_width;
  if (__builtin_mul_overflow(padded, (inner + 3) / 4 * 4 + 8, &bytes)) return std::nullopt;
  return bytes;
}

void pack_int8_weight(const float* weight, std::int64_t columns, std::int64_t inner, std::int64_t column_stride,
                      std::int64_t inner_stride, const float* factors, bool clip, std::uint8_t* to) {
  const auto panels = panels_of(columns);
  const auto panel_bytes = (inner + 3) / 4 * 4 * panel_width;
  auto* scales = reinterpret_cast<float*>(to + panels * panel_bytes);
  auto* offsets = scales + panels * panel_width;
  std::fill(to, to + panels * panel_bytes, std::uint8_t{0});
  std::fill(scales, offsets + panels * panel_width, 0.0F);
  std::vector<float> column(static_cast<std::size_t>(inner));
  for (std::int64_t c = 0; c < columns; ++c) {
    for (std::int64_t k = 0; k < inner; ++k) {
      const float value = weight[c * column_stride + k * inner_stride];
      column[static_cast<std::size_t>(k)] = factors == nullptr ? value : value / factors[k];
    }
    const float scale = scale_of(column, clip);
    scales[c] = scale;
    if (scale == 0 || std::isnan(scale)) continue;
    std::int64_t sum = 0;
    auto* panel = to + c / panel_width * panel_bytes + c % panel_width * 4;
    for (std::int64_t k = 0; k < inner; ++k) {
      const auto byte = nearest(column[static_cast<std::size_t>(k)] / scale);
      panel[k / 4 * 4 * panel_width + k % 4] = static_cast<std::uint8_t>(byte);
      sum += byte;
    }
    offsets[c] = static_cast<float>(sum) * scale;
  }
}

void int8_linear(const int8_linear_task& task, const parallel& team, instruction_set which) {
  if (task.rows <= 0 || task.columns <= 0) return;
  const auto& kernels = kernels_of(which);
  const panel_split split(task.rows, task.inner, task.columns, work_of_a_thread, team);
  if (task.quantised == nullptr)
    return split(team, [&](std::int64_t, auto first_row, auto last_row, auto first_panel, auto last_panel) {
      kernels.int8_linear(task, first_row, last_row, first_panel, last_panel, nullptr);
    });
  if (split.by_rows) {
    const auto each = int8_linear_scratch(task);
    const auto scratches = make_scratch(each * split.parts);
    return split(team, [&](std::int64_t part, auto first_row, auto last_row, auto first_panel, auto last_panel) {
      kernels.int8_linear(task, first_row, last_row, first_panel, last_panel, scratches.get() + part * each);
    });
  }
  // A row is quantised when it is whole, so where threads have parts of rows that comes afterwards.
  const auto whole = make_scratch(task.rows * task.columns);
  auto plain = task;
  plain.quantised = nullptr;
  plain.y = whole.get();
  plain.y_stride = task.columns;
  split(team, [&](std::int64_t, auto first_row, auto last_row, auto first_panel, auto last_panel) {
    kernels.int8_linear(plain, first_row, last_row, first_panel, last_panel, nullptr);
  });
  quantise_rows({plain.y, plain.y_stride, task.factors, task.columns, task.quantised}, task.rows, team, which);
}

void int8_weight_linear(const int8_weight_linear_task& task, const parallel& team, instruction_set which) {
  if (task.rows <= 0 || task.columns <= 0) return;
  const auto& kernels = kernels_of(which);
  const panel_split split(task.rows, task.inner, task.columns, work_of_a_thread_widened, team);
  const auto each = int8_weight_scratch(task);
  const auto scratches = make_scratch(each * split.parts);
  split(team, [&](std::int64_t part, auto first_row, auto last_row, auto first_panel, auto last_panel) {
    kernels.int8_weight_linear(task, first_row, last_row, first_panel, last_panel, scratches.get() + part * each);
  });
}

}  // namespace shoal::kernels
