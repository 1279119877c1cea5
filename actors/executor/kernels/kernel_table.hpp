// What each build of body.hpp gives, and the plain structures it takes: pointers, strides in elements. Callers
// have checked every size; nothing here allocates, throws or keeps state, so any thread may call.
#pragma once

#include <cstdint>

#include "executor/kernels/instruction_set.hpp"

namespace shoal::kernels {

/// The rough ones err by up to 1.2e-4 and take a third of the time: for layers whose numbers are narrow.
enum class activation : std::uint8_t { none, relu, gelu, gelu_tanh, silu, gelu_rough, gelu_tanh_rough };

inline constexpr activation rough(activation after) noexcept {
  if (after == activation::gelu) return activation::gelu_rough;
  if (after == activation::gelu_tanh) return activation::gelu_tanh_rough;
  return after;
}

/// Columns of a panel of packed weights (packed_linear.hpp).
inline constexpr std::int64_t panel_width = 16;

/// What follows a product, and where it goes: y[rows, columns] = activation(product + bias) + residual.
struct linear_result {
  const float* bias = nullptr;      ///< null: none
  const float* residual = nullptr;  ///< null: none
  std::int64_t residual_stride = 0;
  float* y = nullptr;
  std::int64_t y_stride = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  activation after = activation::none;
};

/// The product x[rows, inner] * packed (packed_linear.hpp).
struct linear_task : linear_result {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const float* packed = nullptr;
  std::int64_t inner = 0;
};

/// fp32 rows, each times `factors` if there are any, to `rows` (quantised_rows.hpp).
struct quantise_task {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const float* factors = nullptr;  ///< [width]; null: 1
  std::int64_t width = 0;
  std::uint8_t* rows = nullptr;
};

/// The product of quantised rows and a packed int8 weight (int8_linear.hpp), activations rough. If `quantised` is not
/// null, what would be y becomes quantised rows instead, after it was multiplied by `factors`.
struct int8_linear_task : linear_result {
  const std::uint8_t* x = nullptr;
  const std::uint8_t* packed = nullptr;
  std::int64_t inner = 0;
  std::uint8_t* quantised = nullptr;
  const float* factors = nullptr;  ///< [columns]; null: 1
};

/// The product of fp32 rows and a packed int8 weight.
struct int8_weight_linear_task : linear_result {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const std::uint8_t* packed = nullptr;
  std::int64_t inner = 0;
};

/// The product of fp32 rows, rounded to bf16, and a packed bf16 weight (bf16_linear.hpp), activations rough.
struct bf16_linear_task : linear_result {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const std::uint16_t* packed = nullptr;
  std::int64_t inner = 0;
};

/// What the bytes of a quantised row or image stand for.
struct row_numbers {
  float scale = 0;        ///< NaN: something in it was not finite
  std::int32_t zero = 0;  ///< the byte that stands for 0
};

/// A convolution's sizes; channels last, without groups.
struct convolution_shape {
  std::int64_t in_height = 0, in_width = 0, in_channels = 0;
  std::int64_t out_height = 0, out_width = 0, out_channels = 0;
  std::int64_t kernel_height = 1, kernel_width = 1;
  std::int64_t stride_height = 1, stride_width = 1;
  std::int64_t padding_height = 0, padding_width = 0;
  std::int64_t dilation_height = 1, dilation_width = 1;
};

/// What follows a convolution's product and where it goes (narrow_convolution.hpp). All images dense.
struct convolution_result {
  convolution_shape shape;
  std::int64_t images = 0;
  const float* bias = nullptr;      ///< [out_channels]; null: none
  const float* residual = nullptr;  ///< [images, out_height, out_width, out_channels], may be y; null: none
  float low = -__builtin_inff();
  float high = __builtin_inff();
  float* y = nullptr;  ///< null: not wanted
};

/// Of quantised images (quantised_images.hpp), `x_bytes` apart. If `quantised` is not null, the result goes there, too,
/// as quantised images with `numbers`, `quantised_bytes` apart.
struct int8_convolution_task : convolution_result {
  const std::uint8_t* x = nullptr;
  std::int64_t x_bytes = 0;
  const std::uint8_t* packed = nullptr;
  std::uint8_t* quantised = nullptr;
  std::int64_t quantised_bytes = 0;
  row_numbers numbers;
};

struct bf16_convolution_task : convolution_result {
  const float* x = nullptr;
  const std::uint16_t* packed = nullptr;
};

/// [pixels, channels] of fp32 to bytes.
struct quantise_pixels_task {
  const float* x = nullptr;
  std::int64_t pixels = 0;
  std::int64_t channels = 0;
  row_numbers numbers;
  std::uint8_t* to = nullptr;
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
  std::uint8_t* quantised = nullptr;  ///< y as quantised rows beside y; null: not wanted
  const float* factors = nullptr;     ///< of those rows, [width]; null: 1
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
  /// For one query alone: further keys and values after those at k and v, as a decoder has that of the newest token
  /// beside its caches. They count in `keys`.
  std::int64_t added = 0;
  const float* added_k = nullptr;
  const float* added_v = nullptr;
  std::int64_t added_k_stride = 0;
  std::int64_t added_v_stride = 0;
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

/// A quantised row (quantised_rows.hpp): its bytes, filled up to a cache line, and a line with its row_numbers.
inline constexpr std::int64_t quantised_tail = 64;
inline constexpr std::int64_t quantised_width(std::int64_t width) noexcept { return (width + 63) / 64 * 64; }
inline constexpr std::int64_t quantised_row_bytes(std::int64_t width) noexcept {
  return quantised_width(width) + quantised_tail;
}

/// Bytes of a row in three bytes a number (split_rows_body.hpp).
inline constexpr std::int64_t split_row_bytes(std::int64_t width) noexcept {
  return 3 * quantised_width(width) + quantised_tail;
}

/// Elements of a row rounded to bf16: pairs, and apart by other than a multiple of 4 KiB.
inline constexpr std::int64_t bf16_width(std::int64_t width) noexcept { return (width + 1) / 2 * 2; }
inline constexpr std::int64_t bf16_row_elements(std::int64_t width) noexcept { return (width + 31) / 32 * 32 + 32; }

/// Rows of so many bytes that are worked on together: a part of the second level cache.
inline constexpr std::int64_t rows_in_block(std::int64_t row_bytes) noexcept {
  const auto rows = (std::int64_t{192} << 10) / (row_bytes < 1 ? 1 : row_bytes);
  return rows < 12 ? 12 : rows > row_block ? row_block : rows;
}

struct kernel_table {
  /// Panels [first_panel, last_panel) of rows [first_row, last_row). `scratch`: linear_scratch elements of the calling
  /// thread, or null.
  void (*linear)(const linear_task& task, std::int64_t first_row, std::int64_t last_row, std::int64_t first_panel,
                 std::int64_t last_panel, float* scratch);
  void (*layer_norm)(const norm_task& task, std::int64_t first_row, std::int64_t last_row);
  void (*attention)(const attention_task& task);
  /// One query, not causal; keys and values are read once, where they lie.
  void (*attention_of_one)(const attention_task& task);
  /// The same with bf16 products; scratch: attention_bf16_scratch elements.
  void (*attention_bf16)(const attention_task& task);
  void (*quantise)(const quantise_task& task, std::int64_t first_row, std::int64_t last_row);
  /// `scratch`: with task.quantised, int8_linear_scratch(task) elements of the calling thread, and all panels at once.
  void (*int8_linear)(const int8_linear_task& task, std::int64_t first_row, std::int64_t last_row,
                      std::int64_t first_panel, std::int64_t last_panel, float* scratch);
  /// `scratch`: int8_weight_scratch(task) elements of the calling thread.
  void (*int8_weight_linear)(const int8_weight_linear_task& task, std::int64_t first_row, std::int64_t last_row,
                             std::int64_t first_panel, std::int64_t last_panel, float* scratch);
  /// `scratch`: bf16_linear_scratch(task.inner) elements of the calling thread.
  void (*bf16_linear)(const bf16_linear_task& task, std::int64_t first_row, std::int64_t last_row,
                      std::int64_t first_panel, std::int64_t last_panel, std::uint16_t* scratch);
  /// False: something was not finite.
  bool (*quantise_pixels)(const quantise_pixels_task& task);
  /// Rows [first_row, last_row) of the result of one image. `scratch`: convolution_frame(task.shape, ...).bytes, of the
  /// calling thread. False: the result has something that is not finite, and `quantised` is wanted.
  bool (*int8_convolution)(const int8_convolution_task& task, std::int64_t image, std::int64_t first_row,
                           std::int64_t last_row, std::uint8_t* scratch);
  void (*bf16_convolution)(const bf16_convolution_task& task, std::int64_t image, std::int64_t first_row,
                           std::int64_t last_row, std::uint8_t* scratch);
};

inline std::int64_t int8_linear_scratch(const int8_linear_task& task) noexcept {
  return rows_in_block(quantised_row_bytes(task.inner)) *
         ((task.columns + panel_width - 1) / panel_width * panel_width);
}
inline std::int64_t int8_weight_scratch(const int8_weight_linear_task& task) noexcept {
  const auto bytes = split_row_bytes(task.inner);
  const auto rows = task.rows < rows_in_block(bytes) ? task.rows : rows_in_block(bytes);
  return rows * bytes / static_cast<std::int64_t>(sizeof(float));
}
inline std::int64_t bf16_linear_scratch(std::int64_t inner) noexcept {
  return rows_in_block(bf16_row_elements(inner) * 2) * bf16_row_elements(inner);
}

/// The part of an image that is worked on at a time, with its frame: rows of the result, bytes.
struct convolution_frame {
  std::int64_t row_bytes = 0;  ///< of the image's rows with what is left and right of them
  std::int64_t rows = 0;       ///< of the result
  std::int64_t bytes = 0;
  convolution_frame(const convolution_shape& shape, std::int64_t pixel) noexcept {
    // Parts of the second level cache. The result counts, too, unless reading more weights again would cost more.
    constexpr std::int64_t most = std::int64_t{192} << 10;
    constexpr std::int64_t most_weights = std::int64_t{256} << 10;
    row_bytes = (shape.in_width + 2 * shape.padding_width) * pixel;
    const auto below = (shape.kernel_height - 1) * shape.dilation_height + 1;
    rows = (most / row_bytes - below) / shape.stride_height + 1;
    const auto result = shape.out_width * shape.out_channels * static_cast<std::int64_t>(sizeof(float));
    const auto weights = shape.kernel_height * shape.kernel_width * pixel * shape.out_channels;
    if (weights <= most_weights && rows > most / result) rows = most / result;
    rows = rows < 1 ? 1 : rows > shape.out_height ? shape.out_height : rows;
    bytes = ((rows - 1) * shape.stride_height + below) * row_bytes;
  }
};

const kernel_table& kernels_of(instruction_set which) noexcept;

const kernel_table& portable_kernels() noexcept;
const kernel_table& avx2_kernels() noexcept;
const kernel_table& avx512_kernels() noexcept;
const kernel_table& avx512_vnni_kernels() noexcept;
const kernel_table& avx512_bf16_kernels() noexcept;

/// Rows of queries that attention takes at a time.
inline constexpr std::int64_t attention_rows = 24;

inline std::int64_t attention_scratch(std::int64_t keys, std::int64_t depth) noexcept {
  const auto padded = (keys + panel_width - 1) / panel_width * panel_width;
  return padded * depth + attention_rows * padded;
}

inline constexpr std::int64_t most_bf16_depth = 128;

inline std::int64_t attention_bf16_scratch(std::int64_t keys, std::int64_t depth) noexcept {
  const auto padded = (keys + panel_width - 1) / panel_width * panel_width;
  const auto halves = 2 * padded * depth + attention_rows * (bf16_row_elements(depth) + bf16_row_elements(padded));
  return attention_rows * padded + (halves + 1) / 2;
}

}  // namespace shoal::kernels
