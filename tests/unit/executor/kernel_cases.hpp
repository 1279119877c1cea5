// What tests of kernels share: the instruction sets this processor has, random numbers, aligned memory.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "executor/kernels/instruction_set.hpp"

namespace shoal::test {

inline std::vector<kernels::instruction_set> available_sets() {
  std::vector<kernels::instruction_set> found;
  for (const auto which : kernels::all_instruction_sets)
    if (kernels::is_available(which)) found.push_back(which);
  return found;
}

inline std::vector<float> random_floats(std::int64_t count, unsigned seed, float spread = 1.0F) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, spread);
  std::vector<float> made(static_cast<std::size_t>(count));
  for (auto& each : made) each = normal(random);
  return made;
}

class aligned_floats {
 public:
  explicit aligned_floats(std::int64_t count)
      : data_(static_cast<float*>(::operator new[](static_cast<std::size_t>(count) * sizeof(float) + 1, alignment))) {}
  [[nodiscard]] float* data() const noexcept { return data_.get(); }

 private:
  static constexpr std::align_val_t alignment{64};
  struct deleter {
    void operator()(float* block) const noexcept { ::operator delete[](block, alignment); }
  };
  std::unique_ptr<float, deleter> data_;
};

}  // namespace shoal::test
