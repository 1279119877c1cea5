// The 1,000 test images that trained networks are judged by (tools/export/vision.py). They are not part of the project:
// where they were absent when the fixtures were exported there is nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/tensor.hpp"
#include "executor/model.hpp"

namespace shoal::test {

struct cifar_images {
  std::string pixels;       ///< [count, 3, 32, 32]
  std::string labels;       ///< [count]
  std::string predictions;  ///< what eager PyTorch calls them
  [[nodiscard]] std::int64_t count() const { return static_cast<std::int64_t>(labels.size()); }

  /// Images [first, first + rows), each `step` from the one before, as fp32 [rows, 3, 32, 32], normalised as the
  /// networks were trained.
  [[nodiscard]] tensor normalised(std::int64_t first, std::int64_t rows, const std::string& name,
                                  std::int64_t step = 1) const;
};

/// Of "zoo/resnet20". Throws std::runtime_error if files are of unlike sizes.
std::optional<cifar_images> read_cifar_images(const std::string& fixture);

struct accuracy {
  std::int64_t right = 0;   ///< as the labels say
  std::int64_t differ = 0;  ///< from what eager PyTorch calls them
};
/// Throws std::runtime_error if the model fails.
accuracy accuracy_of(executor::model& model, const cifar_images& on);

}  // namespace shoal::test
