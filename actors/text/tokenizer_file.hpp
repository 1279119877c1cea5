// A tokenizer.json as a whole, checked.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "text/added_tokens.hpp"
#include "text/framing.hpp"
#include "text/model.hpp"
#include "text/normaliser.hpp"

namespace shoal::text {

struct tokenizer_file {
  std::unique_ptr<const normaliser> normalises;  ///< nullptr: the text stays as it is
  std::unique_ptr<const model> encodes;
  std::unique_ptr<const added_tokens> added;
  framing frame;
  std::int64_t vocabulary = 0;
  std::int64_t pad = 0;
};

/// `where` names the text in errors, which are `tokenizer::parse`'s.
expected<tokenizer_file> parse_tokenizer_file(std::string_view text, const std::string& where);
/// Errors: not_found, unavailable, too_large.
expected<std::string> read_tokenizer_file(const std::filesystem::path& file);

}  // namespace shoal::text
