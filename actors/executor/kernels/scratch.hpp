// Memory that kernels work in for the length of one call, aligned to a cache line. Throws std::bad_alloc.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace shoal::kernels {

struct scratch_delete {
  void operator()(float* block) const noexcept { ::operator delete[](block, std::align_val_t{64}); }
};
using scratch = std::unique_ptr<float, scratch_delete>;

inline scratch make_scratch(std::int64_t elements) {
  const auto bytes = static_cast<std::size_t>(elements) * sizeof(float);
  return scratch(static_cast<float*>(::operator new[](bytes, std::align_val_t{64})));
}

}  // namespace shoal::kernels
