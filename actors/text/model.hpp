// A pre-tokeniser with its model: normalised text between added tokens to ids. Owned by the tokenizer; immutable, any
// thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/id_sink.hpp"
#include "text/id_table.hpp"

namespace shoal::text {

class model {
 public:
  virtual ~model() = default;
  /// `text` is well-formed UTF-8 and not empty.
  virtual void encode(std::string_view text, id_sink& to) const = 0;
  [[nodiscard]] virtual std::string_view kind() const noexcept = 0;
};

struct word_pieces {
  id_table tokens;
  std::string unknown;              ///< is in `tokens`
  std::string continuing_prefix;    ///< before a piece that does not begin a word
  std::size_t most_characters = 0;  ///< a longer word is unknown
};
/// BertPreTokenizer and WordPiece.
std::unique_ptr<const model> word_piece_model(const word_pieces& from);

struct byte_pairs {
  struct merge {
    token_id left = 0;
    token_id right = 0;
    token_id whole = 0;
  };
  id_table tokens;                  ///< in GPT-2's alphabet for bytes
  std::vector<merge> merges;        ///< those of lower index go before; of two of the same pair the last counts
  std::optional<token_id> unknown;  ///< for bytes without a token, which are left out otherwise
  bool fuses_unknown = false;       ///< one id for unknown bytes in a row
  bool ignores_merges = false;      ///< of words that are tokens as a whole
  bool adds_prefix_space = false;
  bool splits_words = true;  ///< as GPT-2's regular expression does
};
/// ByteLevel and BPE.
std::unique_ptr<const model> byte_pair_model(const byte_pairs& from);

}  // namespace shoal::text
