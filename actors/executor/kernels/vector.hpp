// Vectors of SHOAL_VECTOR_BYTES bytes and the few functions on them, in GCC's vector extensions: one source for every
// instruction set. Everything is in an unnamed namespace and no inline function of the standard library is called: an
// inline function compiled here with wide instructions could be the one the linker keeps for the whole program.
#pragma once

#include <cstdint>
#include <utility>

namespace shoal::kernels {
namespace {

constexpr int lanes = SHOAL_VECTOR_BYTES / 4;
using vector = float __attribute__((vector_size(SHOAL_VECTOR_BYTES)));
using integers = std::int32_t __attribute__((vector_size(SHOAL_VECTOR_BYTES)));
using unaligned = float __attribute__((vector_size(SHOAL_VECTOR_BYTES), aligned(4), may_alias));

inline vector load(const float* from) { return *reinterpret_cast<const unaligned*>(from); }
inline void store(float* to, vector value) { *reinterpret_cast<unaligned*>(to) = value; }
inline vector all(float value) { return vector{} + value; }
// NaN stays NaN: a comparison with it is false.
inline vector at_most(vector value, float limit) { return value > limit ? all(limit) : value; }
inline vector at_least(vector value, float limit) { return value < limit ? all(limit) : value; }
inline vector magnitude(vector value) { return value < 0.0F ? -value : value; }

template <int Distance, int... Lane>
vector rotated(vector value, std::integer_sequence<int, Lane...>) {
  return __builtin_shufflevector(value, value, ((Lane + Distance) % lanes)...);
}

/// Lane i is what lane i + Distance was, cyclically.
template <int Distance>
vector rotated(vector value) {
  return rotated<Distance>(value, std::make_integer_sequence<int, lanes>{});
}

template <int Distance = lanes / 2>
float sum(vector value) {
  value += rotated<Distance>(value);
  if constexpr (Distance > 1) return sum<Distance / 2>(value);
  return value[0];
}

template <int Distance = lanes / 2>
float largest(vector value) {
  const vector other = rotated<Distance>(value);
  value = other > value ? other : value;
  if constexpr (Distance > 1) return largest<Distance / 2>(value);
  return value[0];
}

// 1.5 * 2^23: a sum with it is a whole number, the value's nearest, whose two's complement ends the bits.
constexpr float rounding = 12582912.0F;

/// 2^n for `rounding` + n, n in -126..127.
inline vector power_of_two(vector rounded) {
  const integers exponent = (reinterpret_cast<integers>(rounded) + 127) << 23;
  return reinterpret_cast<vector>(exponent);
}

/// e^x within 1e-7 of its size; 0 below -87.3 (results that would be denormal), infinity above 88.7.
inline vector exponential(vector x) {
  const vector bounded = at_least(at_most(x, 88.0F), -87.3F);
  const vector rounded = bounded * 1.44269504F + rounding;
  const vector whole = rounded - rounding;
  const vector rest = (bounded - whole * 0.693145752F) - whole * 1.42860677e-6F;  // ln 2 in two parts
  // Taylor's series: |rest| <= ln(2) / 2.
  vector p = all(1.0F / 5040);
  p = p * rest + 1.0F / 720;
  p = p * rest + 1.0F / 120;
  p = p * rest + 1.0F / 24;
  p = p * rest + 1.0F / 6;
  p = p * rest + 0.5F;
  p = p * rest + 1.0F;
  p = p * rest + 1.0F;
  vector result = p * power_of_two(rounded);
  result = x > 88.7F ? all(__builtin_inff()) : result;
  return x < -87.3F ? vector{} : result;
}

/// e^x for x <= 0 within 5e-5 of its size, 0 below -87: for weights that are rounded to eight bits afterwards.
inline vector exponential_rough(vector x) {
  const vector t = at_least(x * 1.44269504F, -126.0F);
  const vector rounded = t + rounding;
  const vector rest = t - (rounded - rounding);
  vector p = all(0.00961813F);  // Taylor's series of 2^rest, |rest| <= 1 / 2
  p = p * rest + 0.05550411F;
  p = p * rest + 0.24022651F;
  p = p * rest + 0.69314718F;
  p = p * rest + 1.0F;
  // A whole number beside `rounding` ends the bits: shifted, it adds to the exponent.
  const integers raised = reinterpret_cast<integers>(p) + (reinterpret_cast<integers>(rounded) << 23);
  return x < -87.0F ? vector{} : reinterpret_cast<vector>(raised);
}

/// erfc(a / sqrt 2) for a >= 0 as 2^(-a P(a)); P is a weighted minimax fit of ours to -log2(erfc(a / sqrt 2)) / a on
/// 0..8, so that max(x, 0) - |x| erfc / 2 has the error of fp32 itself.
inline vector complementary_error(vector a) {
  const vector b = at_most(a, 14.0F);
  vector p = all(2.271214860627424e-08F);
  p = p * b + -7.42606061976403e-07F;
  p = p * b + 1.0127724635822233e-05F;
  p = p * b + -7.35054345568642e-05F;
  p = p * b + 2.7411762857809863e-04F;
  p = p * b + 6.183247933222447e-06F;
  p = p * b + -6.9520422257483006e-03F;
  p = p * b + 5.2444908767938614e-02F;
  p = p * b + 4.592193067073822e-01F;
  p = p * b + 1.15110445022583F;
  const vector exponent = at_least(p * b * -1.0F, -126.0F);
  const vector rounded = exponent + rounding;
  const vector whole = rounded - rounding;
  const vector rest = (exponent - whole) * 0.693147181F;
  vector q = all(1.0F / 5040);
  q = q * rest + 1.0F / 720;
  q = q * rest + 1.0F / 120;
  q = q * rest + 1.0F / 24;
  q = q * rest + 1.0F / 6;
  q = q * rest + 0.5F;
  q = q * rest + 1.0F;
  q = q * rest + 1.0F;
  return b >= 14.0F ? vector{} : q * power_of_two(rounded);
}

inline vector gelu(vector x) {
  const vector a = magnitude(x);
  // Infinity times the 0 that erfc gives would be NaN.
  return at_least(x, 0.0F) - at_most(a, 3.0e38F) * (0.5F * complementary_error(a));
}

/// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), with 1 + tanh(u) = 2 / (1 + e^(-2u)).
inline vector gelu_tanh(vector x) {
  const vector u = x * (1.5957691216F + 0.0713548163F * (x * x));
  return x / (1.0F + exponential(-u));
}

/// x times a share of 1 that is 1/2 + t P(t^2), t being x within -4.25..4.25: minimax fits of ours (weighted by x), of
/// degree 7, that are 0 and 1 at the ends.
template <int Terms>
vector odd_share(vector x, const float (&p)[Terms]) {
  const vector t = at_least(at_most(x, 4.25F), -4.25F);
  const vector square = t * t;
  vector sum = all(p[Terms - 1]);
#pragma GCC unroll 8
  for (int i = Terms - 2; i >= 0; --i) sum = sum * square + p[i];
  return x * (t * sum + 0.5F);
}

/// Within 9.1e-5, and 3e-6 of x.
inline vector gelu_rough(vector x) {
  constexpr float p[] = {0.39842004F,   -0.0654535F,    0.009257821F,  -9.404471e-4F,
                         6.5527034e-5F, -2.9387984e-6F, 7.5708186e-8F, -8.4603896e-10F};
  return odd_share(x, p);
}

/// Within 1.1e-4, and 3e-6 of x.
inline vector gelu_tanh_rough(vector x) {
  constexpr float p[] = {0.39833733F,   -0.06561598F,   0.009377725F,  -9.6913736e-4F,
                         6.8895708e-5F, -3.1514767e-6F, 8.2651987e-8F, -9.3824959e-10F};
  return odd_share(x, p);
}

inline vector silu(vector x) { return x / (1.0F + exponential(-x)); }

}  // namespace
}  // namespace shoal::kernels
