// Where a model computes, as the configuration and the command line name it. A plain value without LibTorch, so that
// services can read and check it; owned by whoever holds it. Text that names no device is an error that lists the
// forms. Parsing says nothing about whether the machine has the device: only loading a model on it can.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace shoal::executor {

struct device {
  enum class kind : std::uint8_t { cpu, cuda };

  /// c10::DeviceIndex is a signed byte.
  static constexpr int max_index = 127;

  kind type = kind::cpu;
  int index = 0;  ///< of the GPU, as CUDA counts the visible ones; 0 for the CPU

  /// `cpu`, `cuda` (the first GPU) or `cuda:N`, N decimal without leading zeros in [0, max_index].
  /// errc::invalid_argument for anything else.
  static expected<device> parse(std::string_view text);

  bool operator==(const device&) const = default;
};

/// The text that `parse` reads as `named`: `cpu` or `cuda:N`.
std::string to_string(const device& named);

}  // namespace shoal::executor
