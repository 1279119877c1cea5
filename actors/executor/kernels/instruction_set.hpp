// Which of the kernels' builds runs: the last of the enumeration that this processor has, unless the environment's
// SHOAL_ISA asks for an earlier one by its name. A set that the processor does not have is never chosen.
#pragma once

#include <array>
#include <string_view>

namespace shoal::kernels {

/// Each has all that those before it have: products of bytes come with VNNI, those of bf16 with BF16.
enum class instruction_set { portable, avx2, avx512, avx512_vnni, avx512_bf16 };

inline constexpr std::array all_instruction_sets{instruction_set::portable, instruction_set::avx2,
                                                 instruction_set::avx512, instruction_set::avx512_vnni,
                                                 instruction_set::avx512_bf16};

std::string_view name_of(instruction_set which) noexcept;

bool is_available(instruction_set which) noexcept;

/// Decided at the first call, the same for the life of the process.
instruction_set chosen_instruction_set() noexcept;

}  // namespace shoal::kernels
