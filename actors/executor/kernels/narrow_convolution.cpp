#include "executor/kernels/narrow_convolution.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <vector>

#include "executor/kernels/bf16_linear.hpp"
#include "executor/kernels/int8_linear.hpp"
#include "executor/kernels/quantised_images.hpp"
#include "executor/kernels/scratch.hpp"

namespace shoal::kernels {

namespace {

/// Multiplications for which waking another thread pays.
constexpr double work_of_a_thread = 1 << 20;

/// Parts of the batch by images, if there are enough of them, else by rows of each.
struct image_split {
  std::int64_t images;
  std::int64_t rows;
  std::int64_t parts;
  bool by_images;

  image_split(const convolution_result& of, std::int64_t inner, const parallel& team)
      : images(of.images), rows(of.shape.out_height) {
    const double work = static_cast<double>(images) * static_cast<double>(rows * of.shape.out_width) *
                        static_cast<double>(of.shape.out_channels) * static_cast<double>(inner);
    parts = std::clamp<std::int64_t>(static_cast<std::int64_t>(work / work_of_a_thread), 1, std::max(1, team.threads));
    by_images = images >= parts;
    if (!by_images) parts = std::min(parts, rows);
  }

  /// run(part, image, first_row, last_row)
  template <class Run>
  void operator()(const parallel& team, const Run& run) const {
    const std::function<void(std::int64_t)> part_of = [&](std::int64_t part) {
      const auto first = images * part / parts;
      const auto last = images * (part + 1) / parts;
      if (by_images)
        for (auto image = first; image < last; ++image) run(part, image, std::int64_t{0}, rows);
      else
        for (std::int64_t image = 0; image < images; ++image)
          run(part, image, rows * part / parts, rows * (part + 1) / parts);
    };
    if (parts == 1) return part_of(0);
    team.run(parts, part_of);
  }
};

std::optional<std::int64_t> inner_of(const convolution_shape& shape, std::int64_t per_tap) noexcept {
  std::int64_t inner = 0;
  if (__builtin_mul_overflow(shape.kernel_height, shape.kernel_width, &inner) ||
      __builtin_mul_overflow(inner, per_tap, &inner))
    return std::nullopt;
  return inner;
}

/// Frames of all parts, a whole number of cache lines apart.
class frames {
 public:
  frames(std::int64_t bytes, std::int64_t parts)
      : each_((bytes + 63) / 64 * 64), memory_(make_scratch(each_ / 4 * parts)) {}
  [[nodiscard]] std::uint8_t* of(std::int64_t part) const {
    return reinterpret_cast<std::uint8_t*>(memory_.get()) + part * each_;
  }

 private:
  std::int64_t each_;
  scratch memory_;
};

}  // namespace

std::optional<std::int64_t> convolution_inner_int8(const convolution_shape& shape) noexcept {
  const auto inner = inner_of(shape, pixel_bytes(shape.in_channels));
  return inner && *inner <= most_int8_inner ? inner : std::nullopt;
}

std::optional<std::int64_t> convolution_inner_bf16(const convolution_shape& shape) noexcept {
  return inner_of(shape, bf16_width(shape.in_channels));
}

void int8_convolution(const int8_convolution_task& task, const parallel& team, instruction_set which) {
  const auto& shape = task.shape;
  if (task.images <= 0 || shape.out_height <= 0 || shape.out_width <= 0 || shape.out_channels <= 0) return;
  const auto& kernels = kernels_of(which);
  const auto pixel = pixel_bytes(shape.in_channels);
  const image_split split(task, shape.kernel_height * shape.kernel_width * pixel, team);
  const frames memory(convolution_frame(shape, pixel).bytes, split.parts);
  std::vector<std::atomic<bool>> bad(static_cast<std::size_t>(task.images));
  split(team, [&](std::int64_t part, std::int64_t image, std::int64_t first, std::int64_t last) {
    if (!kernels.int8_convolution(task, image, first, last, memory.of(part)))
      bad[static_cast<std::size_t>(image)].store(true, std::memory_order_relaxed);
  });
  if (task.quantised == nullptr) return;
  const auto bytes = shape.out_height * shape.out_width * pixel_bytes(shape.out_channels);
  for (std::int64_t image = 0; image < task.images; ++image) {
    auto numbers = task.numbers;
    if (bad[static_cast<std::size_t>(image)]) numbers.scale = std::numeric_limits<float>::quiet_NaN();
    auto* to = task.quantised + image * task.quantised_bytes + bytes;
    std::memset(to, 0, static_cast<std::size_t>(task.quantised_bytes - bytes));
    std::memcpy(to, &numbers, sizeof numbers);
  }
}

void bf16_convolution(const bf16_convolution_task& task, const parallel& team, instruction_set which) {
  const auto& shape = task.shape;
  if (task.images <= 0 || shape.out_height <= 0 || shape.out_width <= 0 || shape.out_channels <= 0) return;
  const auto& kernels = kernels_of(which);
  const auto even = bf16_width(shape.in_channels);
  const image_split split(task, shape.kernel_height * shape.kernel_width * even, team);
  const frames memory(convolution_frame(shape, even * 2).bytes, split.parts);
  split(team, [&](std::int64_t part, std::int64_t image, std::int64_t first, std::int64_t last) {
    kernels.bf16_convolution(task, image, first, last, memory.of(part));
  });
}

}  // namespace shoal::kernels
