// body.hpp for one instruction set; CMakeLists.txt has its flags.
#define SHOAL_VECTOR_BYTES 64
#include "executor/kernels/body.hpp"

namespace shoal::kernels {

const kernel_table& avx512_kernels() noexcept { return table; }

}  // namespace shoal::kernels
