// Images of fp32, channels last, as bytes with one scale and one zero for each image, so that what an image becomes
// does not depend on the images beside it:
//
//     byte = round(x / scale) + zero, within 0..255      x is about (byte - zero) * scale
//
// (asymmetric uniform quantisation; Jacob et al. 2018, equation 1). Scale and zero come from a range that was seen when
// the plan was made, or else from the image itself. An image lies in height * width pixels of `channels` rounded up to
// four bytes, and some more pixels that hold its row_numbers, so that [n, image_rows, width, pixel_bytes] tells its own
// sizes. An image with a NaN or an infinity has the scale NaN, and so is what is made of it.
#pragma once

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/parallel.hpp"

namespace shoal::kernels {

inline constexpr std::int64_t pixel_bytes(std::int64_t channels) noexcept { return (channels + 3) / 4 * 4; }

/// Rows of the tensor beyond those of the image: as many as its numbers need. `width`, `channels`: at least 1.
inline constexpr std::int64_t extra_rows(std::int64_t width, std::int64_t channels) noexcept {
  const auto row = width * pixel_bytes(channels);
  return (static_cast<std::int64_t>(sizeof(row_numbers)) + row - 1) / row;
}

/// Scale and zero of numbers within least..most, which 0 is always in. Nothing left of a range too small for a scale:
/// 0, and whatever is quantised becomes 0.
row_numbers numbers_of_range(float least, float most) noexcept;

/// x: [images, pixels, channels], dense. `images_bytes` apart lie the images of `to`. `numbers`: null: each image's
/// own.
struct quantise_images_task {
  const float* x = nullptr;
  std::int64_t images = 0;
  std::int64_t pixels = 0;
  std::int64_t channels = 0;
  const row_numbers* numbers = nullptr;
  std::uint8_t* to = nullptr;
  std::int64_t image_bytes = 0;
};
void quantise_images(const quantise_images_task& task, const parallel& team = parallel::none(),
                     instruction_set which = chosen_instruction_set());

}  // namespace shoal::kernels
