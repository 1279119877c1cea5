// Text to the token ids that a model was trained on, as a tokenizer.json of the `tokenizers` library says
// (https://github.com/huggingface/tokenizers): BERT's normaliser, pre-tokeniser and WordPiece, and byte-level BPE as
// GPT-2 has it. The ids are those that the library gives, special tokens included.
//
// Immutable once read, so any thread may encode, several at a time. Truncation and padding in the file are ignored: the
// model's limit is the archive's, and whoever calls decides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

namespace shoal::text {

struct encoding {
  std::vector<std::int64_t> ids;    ///< with the special tokens that the file's post-processor puts around
  std::vector<std::int64_t> types;  ///< as long as ids: type ids (BERT's segments), 0 where the file says nothing
  std::size_t whole = 0;            ///< how many ids there are without a limit; more than ids.size(): truncated
};

class tokenizer {
 public:
  static constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();

  virtual ~tokenizer() = default;

  /// Errors: not_found, unavailable (the file cannot be read); too_large; corrupt (not JSON, or not a tokenizer.json:
  /// what and where); unsupported (a normaliser, pre-tokeniser, model or post-processor of another kind, by its name).
  static expected<std::shared_ptr<const tokenizer>> read(const std::filesystem::path& file);
  /// `where` names the text in errors.
  static expected<std::shared_ptr<const tokenizer>> parse(std::string_view json, const std::string& where);

  /// At most `most` ids, of which the text's own are taken from its beginning (`tokenizers`' truncation on the right):
  /// `whole` tells whether that was all. Errors: invalid_argument (not UTF-8, with the byte; `most` below the number of
  /// special tokens).
  [[nodiscard]] virtual expected<encoding> encode(std::string_view utf8, std::size_t most = no_limit) const = 0;

  /// Ids are below this: what the model's embedding must have rows for.
  [[nodiscard]] virtual std::int64_t vocabulary() const noexcept = 0;
  /// What the model pads with: the id of the file's padding, else of its [PAD] or <pad> token, else 0.
  [[nodiscard]] virtual std::int64_t pad_id() const noexcept = 0;
  /// "WordPiece" or "BPE".
  [[nodiscard]] virtual std::string_view kind() const noexcept = 0;
};

}  // namespace shoal::text
