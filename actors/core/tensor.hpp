// A named tensor while it travels: descriptor and bytes, row-major and little-endian, without LibTorch.
// Shapes come from strangers: sizes are computed with checked multiplication only (`byte_size`).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/buffer.hpp"
#include "core/dtype.hpp"
#include "core/error.hpp"

namespace shoal {

using shape = std::vector<std::int64_t>;

/// The highest rank the mesh accepts, so that a hostile descriptor stays small. (PyTorch's own limit is 64.)
inline constexpr std::size_t max_rank = 16;

struct tensor {
  std::string name;
  dtype type = dtype::fp32;
  shape dims;   ///< sizes >= 0, outermost first; empty: a scalar
  buffer data;  ///< `byte_size(type, dims)` bytes, or empty while the payload is held elsewhere
};

/// Number of elements, or an error for a negative size, a rank above max_rank or an overflow of 63 bits.
expected<std::uint64_t> element_count(const shape& dims);

/// Number of bytes of a tensor of fixed-size elements; errors as element_count, and for dtype::bytes.
expected<std::uint64_t> byte_size(dtype type, const shape& dims);

/// "[2, 3]": for messages to people.
std::string to_string(const shape& dims);

}  // namespace shoal
