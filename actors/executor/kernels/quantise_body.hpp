// fp32 rows to rows of bytes with a scale and a zero of their own (quantised_rows.hpp has the layout and the formula).
#pragma once

#include "executor/kernels/kernel_table.hpp"
#include "executor/kernels/products.hpp"

namespace shoal::kernels {
namespace {

using narrow = std::uint8_t __attribute__((vector_size(lanes)));

inline void store_bytes(std::uint8_t* to, integers from) {
  const narrow made = __builtin_convertvector(from, narrow);
  __builtin_memcpy(to, &made, sizeof made);
}

struct range_of_row {
  float least = 0;
  float most = 0;
  bool finite = true;
};

/// The range, which 0 is always in. A NaN is not in any range, so it is looked for by itself.
inline range_of_row range_of(const float* x, const float* factors, std::int64_t width) {
  constexpr float largest_float = 3.4028234e38F;
  vector least = {};
  vector most = {};
  integers bad = {};
  const auto whole = width / lanes * lanes;
  for (std::int64_t c = 0; c < whole; c += lanes) {
    vector value = load(x + c);
    if (factors != nullptr) value *= load(factors + c);
    least = value < least ? value : least;
    most = value > most ? value : most;
    bad |= value != value;
  }
  float low = 0;
  float high = 0;
  bool finite = true;
  for (auto c = whole; c < width; ++c) {
    const float value = factors == nullptr ? x[c] : x[c] * factors[c];
    low = value < low ? value : low;
    high = value > high ? value : high;
    finite = finite && value == value;
  }
  const float lowest = -largest(-least);
  const float highest = largest(most);
  low = lowest < low ? lowest : low;
  high = highest > high ? highest : high;
  for (int lane = 0; lane < lanes; ++lane) finite = finite && bad[lane] == 0;
  return {low, high, finite && low >= -largest_float && high <= largest_float};
}

void quantise_row(const float* x, const float* factors, std::int64_t width, std::uint8_t* to) {
  const auto padded = quantised_width(width);
  const auto range = range_of(x, factors, width);
  row_numbers numbers;
  float inverse = 0;
  if (!range.finite) {
    numbers.scale = __builtin_nanf("");
  } else {
    numbers.scale = range.most / 255.0F - range.least / 255.0F;
    // Below this the inverse would not be a number; what is lost is smaller than any weight can make visible.
    if (numbers.scale < 1e-36F) numbers.scale = 0;
    if (numbers.scale != 0) {
      inverse = 1.0F / numbers.scale;
      numbers.zero = static_cast<std::int32_t>(-range.least * inverse + 0.5F);
    }
  }
  // Beside `rounding` the last bits of the sum are the whole number nearest to it.
  const float shift = rounding + static_cast<float>(numbers.zero);
  constexpr float most = rounding + 255.0F;
  const auto whole = width / lanes * lanes;
  for (std::int64_t c = 0; c < whole; c += lanes) {
    vector value = load(x + c);
    if (factors != nullptr) value *= load(factors + c);
    value = at_least(at_most(value * inverse + shift, most), rounding);
    store_bytes(to + c, reinterpret_cast<integers>(value) & 0xFF);
  }
  for (auto c = whole; c < width; ++c) {
    float value = factors == nullptr ? x[c] : x[c] * factors[c];
    value = __builtin_fmaf(value, inverse, shift);
    value = value > most ? most : value < rounding ? rounding : value;
    std::int32_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof bits);
    to[c] = static_cast<std::uint8_t>(bits & 0xFF);
  }
  for (auto c = width; c < padded; ++c) to[c] = 0;
  __builtin_memset(to + padded, 0, quantised_tail);
  __builtin_memcpy(to + padded, &numbers, sizeof numbers);
}

void quantise_rows_of(const quantise_task& task, std::int64_t first_row, std::int64_t last_row) {
  const auto bytes = quantised_row_bytes(task.width);
  for (auto row = first_row; row < last_row; ++row)
    quantise_row(task.x + row * task.x_stride, task.factors, task.width, task.rows + row * bytes);
}

}  // namespace
}  // namespace shoal::kernels
