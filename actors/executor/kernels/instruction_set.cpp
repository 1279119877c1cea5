#include "executor/kernels/instruction_set.hpp"

#include <cstdlib>

#include "executor/kernels/kernel_table.hpp"

namespace shoal::kernels {

namespace {

instruction_set widest() noexcept {
  auto found = instruction_set::portable;
  for (const auto which : all_instruction_sets)
    if (is_available(which)) found = which;
  return found;
}

instruction_set choose() noexcept {
  const char* asked = std::getenv("SHOAL_ISA");
  if (asked != nullptr)
    for (const auto which : all_instruction_sets)
      if (name_of(which) == asked && is_available(which)) return which;
  return widest();
}

}  // namespace

std::string_view name_of(instruction_set which) noexcept {
  switch (which) {
    case instruction_set::avx512_bf16: return "avx512_bf16";
    case instruction_set::avx512_vnni: return "avx512_vnni";
    case instruction_set::avx512: return "avx512";
    case instruction_set::avx2: return "avx2";
    case instruction_set::portable: break;
  }
  return "portable";
}

bool is_available(instruction_set which) noexcept {
#ifdef SHOAL_X86_KERNELS
  // libgcc asks CPUID and whether the kernel saves the wide registers.
  if (which == instruction_set::avx512_bf16)
    return is_available(instruction_set::avx512_vnni) && __builtin_cpu_supports("avx512bf16");
  if (which == instruction_set::avx512_vnni)
    return is_available(instruction_set::avx512) && __builtin_cpu_supports("avx512vnni");
  if (which == instruction_set::avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
  if (which == instruction_set::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return which == instruction_set::portable;
}

instruction_set chosen_instruction_set() noexcept {
  static const instruction_set chosen = choose();
  return chosen;
}

const kernel_table& kernels_of(instruction_set which) noexcept {
#ifdef SHOAL_X86_KERNELS
  if (which == instruction_set::avx512_bf16) return avx512_bf16_kernels();
  if (which == instruction_set::avx512_vnni) return avx512_vnni_kernels();
  if (which == instruction_set::avx512) return avx512_kernels();
  if (which == instruction_set::avx2) return avx2_kernels();
#endif
  return portable_kernels();
}

}  // namespace shoal::kernels
