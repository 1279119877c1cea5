// body.hpp for one instruction set; CMakeLists.txt has its flags.
#define SHOAL_VECTOR_BYTES 64
#define SHOAL_VNNI
#define SHOAL_BF16
#include "executor/kernels/body.hpp"

namespace shoal::kernels {

const kernel_table& avx512_bf16_kernels() noexcept { return table; }

}  // namespace shoal::kernels
