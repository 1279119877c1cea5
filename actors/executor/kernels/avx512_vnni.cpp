// body.hpp for one instruction set; CMakeLists.txt has its flags.
#define SHOAL_VECTOR_BYTES 64
#define SHOAL_VNNI
#include "executor/kernels/body.hpp"

namespace shoal::kernels {

const kernel_table& avx512_vnni_kernels() noexcept { return table; }

}  // namespace shoal::kernels
