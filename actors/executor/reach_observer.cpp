#include "executor/reach_observer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <ATen/core/Tensor.h>

#include "executor/kernels/quantised_images.hpp"
#include "executor/kernels/quantised_rows.hpp"

namespace shoal::executor {

namespace {

constexpr double steps = 255;

kernels::row_numbers numbers_at(const std::uint8_t* at) {
  kernels::row_numbers numbers;
  std::memcpy(&numbers, at, sizeof numbers);
  return numbers;
}

/// Rows and, in the last line of each, its scale and zero.
void look_at_rows(const at::Tensor& rows, node_reach& reach) {
  const auto bytes = rows.size(-1);
  const auto* data = rows.const_data_ptr<std::uint8_t>();
  const auto count = rows.numel() / bytes;
  for (std::int64_t row = 0; row < count; ++row) {
    const auto scale = numbers_at(data + row * bytes + bytes - kernels::quantised_tail).scale;
    reach.is_finite = reach.is_finite && std::isfinite(scale);
    if (std::isfinite(scale)) reach.range = std::max(reach.range, scale * steps);
  }
}

/// How many bytes are 255. In lanes of bytes, which the compiler counts many of at a time; `std::count` widens each to
/// 64 bits, and took a tenth of a batch's time.
std::int64_t count_ends(const std::uint8_t* begin, std::int64_t bytes) {
  constexpr std::int64_t lanes = 64;
  constexpr std::int64_t most_rounds = 255;  // that a lane can count
  std::int64_t found = 0;
  std::int64_t at = 0;
  while (bytes - at >= lanes) {
    std::array<std::uint8_t, lanes> counts{};
    const auto rounds = std::min(most_rounds, (bytes - at) / lanes);
    for (std::int64_t round = 0; round < rounds; ++round, at += lanes)
      for (std::int64_t lane = 0; lane < lanes; ++lane)
        counts[static_cast<std::size_t>(lane)] += static_cast<std::uint8_t>(begin[at + lane] == 255);
    for (const auto each : counts) found += each;
  }
  return found + std::count(begin + at, begin + bytes, std::uint8_t{255});
}

/// [images, rows, width, bytes of a pixel]: pixels, and behind them the image's scale and zero.
void look_at_images(const at::Tensor& images, node_reach& reach) {
  const auto row = images.size(2) * images.size(3);
  const auto extra = (static_cast<std::int64_t>(sizeof(kernels::row_numbers)) + row - 1) / row;
  const auto pixels = (images.size(1) - extra) * row;
  const auto all = images.size(1) * row;
  const auto* data = images.const_data_ptr<std::uint8_t>();
  for (std::int64_t image = 0; image < images.size(0) && pixels > 0; ++image) {
    const auto* begin = data + image * all;
    const auto numbers = numbers_at(begin + pixels);
    reach.is_finite = reach.is_finite && std::isfinite(numbers.scale);
    if (numbers.zero == 255) continue;  // the upper end is 0
    const auto ends = count_ends(begin, pixels);
    reach.saturation = std::max(reach.saturation, static_cast<double>(ends) / static_cast<double>(pixels));
  }
}

}  // namespace

void reach_observer::before(const instruction& next, const std::vector<c10::IValue>& arguments) {
  const bool is_linear = next.target.starts_with("torch.ops.shoal.linear_int8") &&
                         !next.target.starts_with("torch.ops.shoal.linear_int8_weight");
  const bool is_convolution = next.target.starts_with("torch.ops.shoal.convolution_int8");
  if ((!is_linear && !is_convolution) || arguments.empty() || !arguments[0].isTensor()) return;
  const auto& x = arguments[0].toTensor();
  if (x.scalar_type() != at::kByte || !x.is_contiguous() || x.numel() == 0) return;
  if (is_linear && x.size(-1) > kernels::quantised_tail)
    look_at_rows(x, seen_[next.name]);
  else if (is_convolution && x.dim() == 4)
    look_at_images(x, seen_[next.name]);
}

}  // namespace shoal::executor
