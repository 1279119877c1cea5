// What a gateway counts per model version, as Open Inference Protocol v2's statistics extension wants it told. Sums
// since the service started; whoever wants rates takes differences.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace shoal::protocol {

/// How often, and how long together.
struct duration_sum {
  std::uint64_t count = 0;
  std::chrono::nanoseconds total{};

  void add(std::chrono::nanoseconds each) {
    ++count;
    total += each;
  }
  bool operator==(const duration_sum&) const = default;
};

struct model_statistics {
  std::string model;
  std::uint64_t version = 0;
  std::chrono::milliseconds last_inference{};  ///< since 1970; zero: none yet
  std::uint64_t rows = 0;                      ///< of requests that were answered
  /// Executions of the model that answered them. Each answer adds its part of the rows of its batch, so the members of
  /// one batch add up to one.
  double executions = 0;
  duration_sum success;  ///< whole requests, from arrival to outcome, that were answered
  duration_sum fail;     ///< that were not, once the model was known
  duration_sum queue;    ///< in the scheduler; this and the next three of answered requests only
  duration_sum compute_input;
  duration_sum compute_infer;
  duration_sum compute_output;

  bool operator==(const model_statistics&) const = default;
};

}  // namespace shoal::protocol
