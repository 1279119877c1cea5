// What each build of body.hpp gives, and the plain structures it takes: pointers to fp32, strides in elements. Callers
// have checked every size; nothing here allocates, throws or keeps state, so any thread may call.
#pragma once

#include <cstdint>

#include "worker/executor/kernels/instruction_set.hpp"

namespace shoal::kernels {

enum class activation : std::uint8_t { none, relu, gelu, gelu_tanh, silu };

/// Columns of a panel of packed weights (packed_linear.hpp).
inline constexpr std::int64_t panel_width = 16;

/// y[rows, columns] = activation(x[rows, inner] * packed + bias) + residual.
struct linear_task {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const float* packed = nullptr;
  const float* bias = nullptr;      ///< null: none
  const float* residual = nullptr;  ///< null: none
  std::int64_t residual_stride = 0;
  float* y = nullptr;
  std::int64_t y_stride = 0;
  std::int64_t rows = 0;
  std::int64_t inner = 0;
  std::int64_t columns = 0;
  activation after = activation::none;
};

/// y = (x + residual - mean) / sqrt(variance + epsilon) * weight + bias for each row of `width`; all rows dense.
struct norm_task {
  const float* x = nullptr;
  const float* residual = nullptr;  ///< null: none
  const float* weight = nullptr;    ///< null: 1
  const float* bias = nullptr;      ///< null: 0
  float* y = nullptr;
  std::int64_t width = 0;
  float epsilon = 0;
};

/// Attention of one head of one batch row: out = softmax(q * k^T * scale + mask) * v. depth is a multiple of 16.
struct attention_task {
  const float* q = nullptr;  ///< [queries, depth], rows of q_stride
  const float* k = nullptr;  ///< [keys, depth]
  const float* v = nullptr;  ///< [keys, depth]
  float* out = nullptr;      ///< [queries, depth]
  std::int64_t q_stride = 0;
  std::int64_t k_stride = 0;
  std::int64_t v_stride = 0;
  std::int64_t out_stride = 0;
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  std::int64_t depth = 0;
  float scale = 1;
  bool causal = false;          ///< query i sees keys 0..i
  const float* mask = nullptr;  ///< added to the scores; null: none
  std::int64_t mask_row_stride = 0;
  std::int64_t mask_column_stride = 0;
  float* scratch = nullptr;  ///< attention_scratch(keys, depth) elements, of the calling thread
};

/// Blocks of a packed linear: the inner dimension of a block times sixteen columns, or times its rows, fits a core's
/// caches.
inline constexpr std::int64_t inner_block = 1024;
inline constexpr std::int64_t row_block = 96;

/// Elements of the scratch in which a block's rows lie apart by other than a multiple of 4 KiB.
inline constexpr std::int64_t linear_scratch = row_block * (inner_block + panel_width);

/// Rows a multiple of 4 KiB apart fall into one set of the first level cache and push each other out: from so many rows
/// on it pays to copy them.
inline bool pays_to_copy(const linear_task& task) noexcept {
  return task.x_stride % 1024 == 0 && task.rows > 16 && task.columns > 4 * panel_width;
}

struct kernel_table {
  /// Panels [first_panel, last_panel) of rows [first_row, last_row). `scratch`: linear_scratch elements of the calling
  /// thread, or null.
  void (*linear)(const linear_task& task, std::int64_t first_row, std::int64_t last_row, std::int64_t first_panel,
                 std::int64_t last_panel, float* scratch);
  void (*layer_norm)(const norm_task& task, std::int64_t first_row, std::int64_t last_row);
  void (*attention)(const attention_task& task);
};

const kernel_table& kernels_of(instruction_set which) noexcept;

const kernel_table& portable_kernels() noexcept;
const kernel_table& avx2_kernels() noexcept;
const kernel_table& avx512_kernels() noexcept;

/// Rows of queries that attention takes at a time.
inline constexpr std::int64_t attention_rows = 24;

inline std::int64_t attention_scratch(std::int64_t keys, std::int64_t depth) noexcept {
  const auto padded = (keys + panel_width - 1) / panel_width * panel_width;
  return padded * depth + attention_rows * padded;
}

}  // namespace shoal::kernels
