// A tokenizer.json, or text for a tokenizer, as the fuzz target and the replay of its corpus hand them over.
#pragma once

#include <cstddef>
#include <string_view>

#include "core/error.hpp"

namespace shoal::test {

/// The number of ids that came of an input. Its first byte tells what the rest is: `j` a tokenizer.json, with which
/// some texts are encoded; `w` and `b` a text for a small WordPiece and a small byte-level BPE; anything else is
/// refused. Throws std::logic_error if an encoding does not hold together.
expected<std::size_t> read_tokenizer_input(std::string_view input);

}  // namespace shoal::test
