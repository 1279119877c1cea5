// The file's `added_tokens`: found in the text before it is split, as the library does (tokenizer/added_vocabulary.rs):
// leftmost and longest first, those that are not "normalized" in the text as it came, the others after it is
// normalised. Immutable once made.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/normaliser.hpp"
#include "text/word_trie.hpp"

namespace shoal::text {

struct added_token {
  std::string content;
  bool is_single_word = false;
  bool strips_left = false;
  bool strips_right = false;
  bool is_normalised = false;
};

/// Finds some of the added tokens, all of one kind.
class token_finder {
 public:
  struct pattern {
    std::string text;
    token_id id = 0;
    added_token how;
  };
  explicit token_finder(std::vector<pattern> patterns);

  [[nodiscard]] bool is_empty() const noexcept { return patterns_.empty(); }

  /// Calls between(text) and found(id) in turn, for all of `text`. Nothing that `between` gets is empty.
  template <class Between, class Found>
  void split(std::string_view text, Between&& between, Found&& found) const {
    std::size_t done = 0;
    for (std::size_t from = 0; const auto next = find(text, from);) {
      from = next->begin + next->size;
      const auto [begin, end] = reach(text, *next, done);
      if (begin > end) continue;
      if (done < begin) between(text.substr(done, begin - done));
      found(patterns_[next->pattern].id);
      done = end;
    }
    if (done < text.size()) between(text.substr(done));
  }

 private:
  struct place {
    std::size_t begin = 0;
    std::size_t size = 0;
    std::size_t pattern = 0;
  };
  struct span {
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  /// The next one in `text` from `from` on.
  [[nodiscard]] std::optional<place> find(std::string_view text, std::size_t from) const noexcept;
  /// What the token takes of the text, which is done up to `done`; an end before its beginning: it is not to be here.
  [[nodiscard]] span reach(std::string_view text, const place& found, std::size_t done) const noexcept;

  std::vector<pattern> patterns_;
  std::optional<word_trie> trie_;
  std::vector<bool> begins_ = std::vector<bool>(256);  ///< whether a pattern begins with the byte
  std::optional<char> only_first_;                     ///< if all begin with the same
};

class added_tokens {
 public:
  /// In the order of the file. A token of the model's vocabulary keeps its id, others get ids from the vocabulary's
  /// size on, whatever the file says: so the library does.
  added_tokens(const std::vector<added_token>& listed, const id_table& vocabulary, const normaliser* normalises);

  token_finder raw;
  token_finder normalised;
  id_table ids;

 private:
  struct sorted;
  explicit added_tokens(sorted from);
};

}  // namespace shoal::text
