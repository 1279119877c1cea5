// Sums of products of narrow numbers, one 32-bit lane per column: four bytes of a row times four of a weight, exactly;
// two bf16 of each, in fp32. Where the processor has an instruction for it, it is written out: GCC 12 copies the sums
// from register to register around the intrinsic, which costs more than half of the time.
#pragma once

#include "executor/kernels/vector.hpp"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace shoal::kernels {
namespace {

inline integers load_integers(const void* from) {
  using unaligned_integers = std::int32_t __attribute__((vector_size(SHOAL_VECTOR_BYTES), aligned(1), may_alias));
  return *static_cast<const unaligned_integers*>(from);
}

/// The same four bytes in every lane.
inline integers spread(const void* from) {
  using unaligned_integer = std::int32_t __attribute__((aligned(1), may_alias));
  return integers{} + *static_cast<const unaligned_integer*>(from);
}

/// a * b + c, rounded once where the processor can: said, not left to the compiler, which might do so in one tile and
/// not in another.
inline vector fused(vector a, vector b, vector c) {
#if defined(__AVX512F__) && SHOAL_VECTOR_BYTES == 64
  return reinterpret_cast<vector>(
      _mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
#elif defined(__FMA__) && SHOAL_VECTOR_BYTES == 32
  return reinterpret_cast<vector>(
      _mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
#else
  return a * b + c;
#endif
}

inline vector to_floats(integers from) { return __builtin_convertvector(from, vector); }

#if defined(SHOAL_VNNI)

constexpr bool multiplies_bytes = true;

using bytes = integers;
inline bytes unsigned_bytes(integers four) { return four; }
inline bytes signed_bytes(integers four) { return four; }
inline void add_products(integers& sum, bytes x, bytes weight) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(weight));
}

#else

constexpr bool multiplies_bytes = false;

using shorts = std::int16_t __attribute__((vector_size(SHOAL_VECTOR_BYTES)));

/// The first and third byte of each lane, the second and fourth, as 16-bit numbers: their products in pairs do not
/// saturate, as those of bytes would.
struct bytes {
  shorts even;
  shorts odd;
};

inline bytes unsigned_bytes(integers four) {
  return {reinterpret_cast<shorts>(four & 0x00FF00FF), reinterpret_cast<shorts>((four >> 8) & 0x00FF00FF)};
}
inline bytes signed_bytes(integers four) {
  const auto pairs = reinterpret_cast<shorts>(four);
  return {(pairs << 8) >> 8, pairs >> 8};
}

/// In each lane the sum of two products of 16-bit numbers.
inline integers products_of_pairs(shorts a, shorts b) {
#if defined(__AVX512BW__) && SHOAL_VECTOR_BYTES == 64
  return reinterpret_cast<integers>(_mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__) && SHOAL_VECTOR_BYTES == 32
  return reinterpret_cast<integers>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__) && SHOAL_VECTOR_BYTES == 16
  return reinterpret_cast<integers>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  const auto left = reinterpret_cast<integers>(a);
  const auto right = reinterpret_cast<integers>(b);
  return ((left << 16) >> 16) * ((right << 16) >> 16) + (left >> 16) * (right >> 16);
#endif
}

inline void add_products(integers& sum, const bytes& x, const bytes& weight) {
  sum += products_of_pairs(x.even, weight.even) + products_of_pairs(x.odd, weight.odd);
}

#endif

/// sum + the two products of each lane's bf16 pairs.
inline void add_bf16_products(vector& sum, integers x, integers weight) {
#if defined(SHOAL_BF16)
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(weight));
#else
  constexpr auto upper = static_cast<std::int32_t>(0xFFFF0000);
  sum += reinterpret_cast<vector>(x << 16) * reinterpret_cast<vector>(weight << 16);
  sum += reinterpret_cast<vector>(x & upper) * reinterpret_cast<vector>(weight & upper);
#endif
}

using halves = std::uint16_t __attribute__((vector_size(lanes * 2)));

/// To the nearest bf16, ties to even; NaN stays NaN. In the lower half of each lane.
inline integers bf16_bits(vector from) {
  const auto bits = reinterpret_cast<integers>(from);
  const integers rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  const integers quiet = (bits >> 16) | 0x40;
  return (from != from ? quiet : rounded) & 0xFFFF;
}

inline void store_bf16(std::uint16_t* to, vector from) {
#if defined(SHOAL_BF16)
  const auto made = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(from));
#else
  const halves made = __builtin_convertvector(bf16_bits(from), halves);
#endif
  __builtin_memcpy(to, &made, sizeof made);
}

}  // namespace
}  // namespace shoal::kernels
