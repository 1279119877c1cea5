#include "executor/output_error.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace shoal::executor {

namespace {

/// IEEE 754 binary16.
double from_half(std::uint16_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  const int exponent = bits >> 10 & 0x1F;
  const int fraction = bits & 0x3FF;
  if (exponent == 0x1F)
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1024, exponent - 25));
}

bool is_real(dtype type) {
  return type == dtype::fp64 || type == dtype::fp32 || type == dtype::fp16 || type == dtype::bf16;
}

template <class Number>
Number at(const tensor& of, std::size_t index) {
  Number read;
  std::memcpy(&read, of.data.data() + index * sizeof read, sizeof read);
  return read;
}

double real_at(const tensor& of, std::size_t index) {
  switch (of.type) {
    case dtype::fp64: return at<double>(of, index);
    case dtype::fp32: return at<float>(of, index);
    case dtype::fp16: return from_half(at<std::uint16_t>(of, index));
    default: return std::bit_cast<float>(static_cast<std::uint32_t>(at<std::uint16_t>(of, index)) << 16);
  }
}

std::size_t elements_of(const tensor& of) { return size_of(of.type) == 0 ? 0 : of.data.size() / size_of(of.type); }

}  // namespace

double output_error::relative() const {
  if (!is_finite) return std::numeric_limits<double>::infinity();
  const double ratio = size > 0 ? difference / size : difference;
  if (size > 0 && std::isfinite(ratio)) return std::sqrt(ratio);
  return difference > 0 ? std::numeric_limits<double>::infinity() : 0;
}

void add_error(const tensor& wanted, const tensor& given, output_error& sums) {
  if (wanted.type != given.type || wanted.dims != given.dims || wanted.data.size() != given.data.size()) {
    sums.is_finite = false;
    return;
  }
  const auto count = elements_of(wanted);
  const auto bytes = size_of(wanted.type);
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_real(wanted.type)) {
      const bool same = std::memcmp(wanted.data.data() + i * bytes, given.data.data() + i * bytes, bytes) == 0;
      sums.difference += same ? 0 : 1;
      sums.size += 1;
      continue;
    }
    const double x = real_at(wanted, i);
    const double y = real_at(given, i);
    // What fp32 itself makes of a request is not the plan's doing.
    if (!std::isfinite(x)) continue;
    if (!std::isfinite(y)) sums.is_finite = false;
    sums.difference += (x - y) * (x - y);
    sums.size += x * x;
  }
}

double largest_error(const std::vector<output_error>& sums) {
  double largest = 0;
  for (const auto& each : sums) largest = std::max(largest, each.relative());
  return largest;
}

bool is_finite(const tensor& of) {
  if (!is_real(of.type)) return true;
  for (std::size_t i = 0; i < elements_of(of); ++i)
    if (!std::isfinite(real_at(of, i))) return false;
  return true;
}

}  // namespace shoal::executor
