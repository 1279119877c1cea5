// Which numbers each node of a model computes in on one kind of device, and what was measured when that was decided: a
// small file that people can read and write.
//
//     {"shoal_plan": 1, "model": "<SHA-256>", "device": "cpu/avx512_bf16/AMD EPYC", "policy": "measured",
//      "nodes": {"linear_3": {"precision": "int8", "smoothing": [0, -1, 2, ...], "clip": true},
//                "conv2d_1": {"precision": "int8", "input_range": [0, 5.25], "clip": true}, ...},
//      "measured": {"speedup": 3.7, "error": 0.021, "budget": 0.03}, "calibrated_on": "traffic", "generation": 4}
//
// Nodes that are not named stay in fp32. A plan is for one archive (archive::fingerprint) and one device; another
// one's is refused, and so is one with nodes that the model does not have. Plain data, no LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

namespace shoal::executor {

enum class precision : std::uint8_t {
  fp32,
  bf16,         ///< rows and weights rounded, sums in fp32
  fp16,         ///< likewise, by ATen; on CPUs slower than fp32, as the planner will find
  int8,         ///< rows quantised as they come, each by itself; weights quantised once, each column by itself
  int8_weight,  ///< weights alone quantised
};

std::string_view name_of(precision which) noexcept;
std::optional<precision> parse_precision(std::string_view name) noexcept;

/// From a number that is not above 0 to one that is not below.
struct value_range {
  double least = 0;
  double most = 0;

  bool operator==(const value_range&) const = default;
};

struct node_precision {
  precision as = precision::fp32;
  /// int8: channel k of the node's input is divided by 2^(smoothing[k] / 4) before it is quantised and its weights are
  /// multiplied by it: the sizes of channels are shared between the two (SmoothQuant, Xiao et al. 2023, equation 3).
  /// Empty: none.
  std::vector<std::int64_t> smoothing;
  bool clip = false;  ///< int8 and int8_weight: scales of weights with the least squared error

  /// int8, of a convolution: what its input is within, so that one scale serves all images. Numbers beyond it become
  /// its ends. Nothing: each image has a scale of its own, which takes another walk over it.
  std::optional<value_range> input_range = std::nullopt;

  /// int8: what the node's input reached at calibration (node_reach.hpp); 0: not measured. Watched, and part of no
  /// epoch.
  double reach = 0;
  double saturation = 0;

  bool operator==(const node_precision&) const = default;
};

/// What the inputs were by which a plan was measured.
enum class calibration : std::uint8_t {
  seeded,   ///< random ones: to be planned again once there is traffic
  traffic,  ///< of executions that a mesh made
  data,     ///< of a file that somebody gave: nobody but a breach takes its place
};

std::string_view name_of(calibration which) noexcept;

struct precision_plan {
  std::string model;   ///< archive::fingerprint, in hexadecimal digits
  std::string device;  ///< device_signature
  std::string policy = "fp32";
  std::map<std::string, node_precision> nodes;  ///< by the exported node's name

  /// Of the whole model, as the planner saw it; 0: not measured.
  double speedup = 0;  ///< time in fp32 / time with the plan, the geometric mean over the shapes
  double error = 0;    ///< of the outputs against fp32's: |difference| / |fp32's|, both as root mean squares
  double budget = 0;   ///< of that error
  calibration calibrated_on = calibration::data;

  /// The greater one of two plans for the same target counts. 0: a file that does not say.
  std::uint64_t generation = 0;

  [[nodiscard]] bool is_fp32() const noexcept;
  /// Names what the plan decides, not what was measured: equal plans, equal epochs. "fp32" for one without nodes.
  [[nodiscard]] std::string epoch() const;
};

/// Whether `a` counts instead of `b`: of equal generations (two that planned without knowing of each other) the one
/// whose epoch comes later in the alphabet, so that everybody comes to the same one.
bool supersedes(const precision_plan& a, const precision_plan& b);

/// Steps beyond this are refused: 2^(64 / 4).
inline constexpr std::int64_t most_smoothing = 64;

/// Ranges that reach further are refused.
inline constexpr double largest_range = 1e30;

/// Errors: corrupt (where and what), incompatible (another format).
expected<precision_plan> parse_plan(std::string_view text, const std::string& where);
std::string to_text(const precision_plan& plan);

/// Errors: not_found, corrupt, incompatible; unavailable (cannot be written).
expected<precision_plan> read_plan(const std::filesystem::path& file);
expected<void> write_plan(const std::filesystem::path& file, const precision_plan& plan);

/// Beside an archive, a plan for each kind of device: "plan.<the signature's letters and digits>.json".
std::filesystem::path plan_path(const std::filesystem::path& archive, std::string_view signature);

}  // namespace shoal::executor
