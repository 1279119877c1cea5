// Sums of products of narrow numbers, one 32-bit lane per column: four bytes of a row times four of a weight, exactly;
// two bf16 of each, in fp32. Where the processor has an instruction for it, it is written out: GCC 12 copies the sums
// from register to register around the intrinsic, which costs more than half of the time.
#pragma once

#include "worker/executor/kernels/vector.hpp"

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

}  // namespace
}  // namespace shoal::kernels
