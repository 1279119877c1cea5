// Elements of tensors as JSON, both ways. Numbers are exact: an integer that does not fit its type is refused, never
// wrapped or rounded; a float is read to the nearest value and written with the fewest digits that read back the same.
//
// Where the protocol is silent, as Triton does: FP16 and BF16 travel as binary data only; NaN, Infinity and -Infinity
// are written (and read) as these words, which strict JSON does not have but Triton's clients understand.
#pragma once

#include <string>
#include <string_view>

#include "core/tensor.hpp"

namespace shoal::gateway::http_door {

/// The elements of the JSON array `text` (which json_reader has found to be well-formed), flat in row-major order or
/// nested as `dims` says. Nothing is allocated unless the text is long enough to hold that many elements. `where` names
/// the array in errors ("inputs[0].data"). Errors: invalid_argument.
expected<buffer> elements_of(std::string_view text, dtype type, const shape& dims, std::string_view where);

/// Why tensors of this type cannot be JSON: a sentence; empty if they can.
std::string_view why_not_json(dtype type) noexcept;

/// "[1,2,3]", flat. The type can be JSON, and `bytes` holds whole elements at any alignment.
void append_elements(std::string& to, dtype type, std::span<const std::byte> bytes);

}  // namespace shoal::gateway::http_door
