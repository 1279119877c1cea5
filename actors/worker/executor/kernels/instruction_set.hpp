// Which of the kernels' builds runs: the widest this processor has, unless the environment's SHOAL_ISA (avx512, avx2 or
// portable) asks for a narrower one. A set that the processor does not have is never chosen.
#pragma once

#include <string_view>

namespace shoal::kernels {

enum class instruction_set { portable, avx2, avx512 };

std::string_view name_of(instruction_set which) noexcept;

bool is_available(instruction_set which) noexcept;

/// Decided at the first call, the same for the life of the process.
instruction_set chosen_instruction_set() noexcept;

}  // namespace shoal::kernels
