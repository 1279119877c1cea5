#include "executor/kernels/quantised_images.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace shoal::kernels {

namespace {

/// Elements for which waking another thread pays.
constexpr std::int64_t work_of_a_thread = 1 << 16;

row_numbers own_numbers(const float* x, std::int64_t count) noexcept {
  float least = 0;
  float most = 0;
  bool finite = true;
  for (std::int64_t i = 0; i < count; ++i) {
    least = std::min(least, x[i]);
    most = std::max(most, x[i]);
    finite = finite && std::isfinite(x[i]);
  }
  return finite ? numbers_of_range(least, most) : row_numbers{std::numeric_limits<float>::quiet_NaN(), 0};
}

}  // namespace

row_numbers numbers_of_range(float least, float most) noexcept {
  row_numbers made;
  least = std::min(least, 0.0F);
  most = std::max(most, 0.0F);
  const float scale = most / 255.0F - least / 255.0F;
  // Below this the inverse would not be a number.
  if (!(scale >= 1e-36F)) return made;
  made.scale = scale;
  made.zero = static_cast<std::int32_t>(std::clamp(std::lrintf(-least / scale), 0L, 255L));
  return made;
}

void quantise_images(const quantise_images_task& task, const parallel& team, instruction_set which) {
  if (task.images <= 0 || task.pixels <= 0) return;
  const auto& kernels = kernels_of(which);
  const auto size = task.pixels * task.channels;
  const auto quantise = [&](std::int64_t first, std::int64_t last) {
    for (auto image = first; image < last; ++image) {
      const auto* x = task.x + image * size;
      auto* to = task.to + image * task.image_bytes;
      auto numbers = task.numbers == nullptr ? own_numbers(x, size) : *task.numbers;
      const bool finite = kernels.quantise_pixels({x, task.pixels, task.channels, numbers, to});
      if (!finite) numbers.scale = std::numeric_limits<float>::quiet_NaN();
      const auto bytes = task.pixels * pixel_bytes(task.channels);
      std::memset(to + bytes, 0, static_cast<std::size_t>(task.image_bytes - bytes));
      std::memcpy(to + bytes, &numbers, sizeof numbers);
    }
  };
  const auto parts = std::min<std::int64_t>({team.threads, task.images, task.images * size / work_of_a_thread});
  if (parts <= 1) return quantise(0, task.images);
  team.run(parts, [&](std::int64_t part) { quantise(task.images * part / parts, task.images * (part + 1) / parts); });
}

}  // namespace shoal::kernels
