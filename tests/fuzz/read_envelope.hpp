// A message between services as its fuzz target and the replay of its corpus read it.
//
// An input is frames one after the other: each a little-endian u32 with its size, then its bytes. A size beyond the end
// takes what is left, so that every input is some message.
#pragma once

#include <span>

#include "core/error.hpp"

namespace shoal::test {

/// Decodes the frames. What is understood is checked on the way: its tensors hold no more bytes than came, and it reads
/// the same after being written again. Throws std::logic_error if not. Errors: those of link::decode.
expected<void> read_envelope(std::span<const std::byte> input);

}  // namespace shoal::test
