// Element types of tensors, as Open Inference Protocol v2 names them. The values travel on the wire
// (schemas/mesh.capnp): append only. The archive's and c10's enumerations differ; they are mapped in actors/worker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shoal {

enum class dtype : std::uint8_t {
  boolean,
  uint8,
  uint16,
  uint32,
  uint64,
  int8,
  int16,
  int32,
  int64,
  fp16,
  bf16,
  fp32,
  fp64,
  bytes,  ///< elements are u32 length + bytes; no exported graph takes it, the doors refuse it by name
};

struct dtype_info {
  std::string_view name;  ///< the protocol's name: "FP32"
  std::size_t size;       ///< bytes per element; 0: variable
};

inline constexpr std::array<dtype_info, 14> dtype_table{{
    {"BOOL", 1},
    {"UINT8", 1},
    {"UINT16", 2},
    {"UINT32", 4},
    {"UINT64", 8},
    {"INT8", 1},
    {"INT16", 2},
    {"INT32", 4},
    {"INT64", 8},
    {"FP16", 2},
    {"BF16", 2},
    {"FP32", 4},
    {"FP64", 8},
    {"BYTES", 0},
}};

constexpr std::string_view name_of(dtype type) noexcept { return dtype_table[static_cast<std::size_t>(type)].name; }
constexpr std::size_t size_of(dtype type) noexcept { return dtype_table[static_cast<std::size_t>(type)].size; }

constexpr std::optional<dtype> parse_dtype(std::string_view name) noexcept {
  for (std::size_t i = 0; i < dtype_table.size(); ++i)
    if (dtype_table[i].name == name) return static_cast<dtype>(i);
  return std::nullopt;
}

/// A number from the wire, or nothing if no dtype has it.
constexpr std::optional<dtype> dtype_of(unsigned value) noexcept {
  if (value >= dtype_table.size()) return std::nullopt;
  return static_cast<dtype>(value);
}

}  // namespace shoal
