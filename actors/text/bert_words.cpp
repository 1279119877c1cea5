#include <algorithm>
#include <array>

#include "text/model.hpp"
#include "text/unicode_rules.hpp"
#include "text/utf8.hpp"
#include "text/word_trie.hpp"

namespace shoal::text {

namespace {

word_trie trie_of(const id_table& tokens) {
  std::vector<word_trie::word> words;
  words.reserve(tokens.size());
  for (const auto& each : tokens.entries())
    if (each.size != 0) words.push_back({tokens.token(each), each.id});
  return word_trie(std::move(words));
}

class word_piece final : public model {
 public:
  explicit word_piece(const word_pieces& from)
      : trie_(trie_of(from.tokens)),
        continuing_(trie_.after(from.continuing_prefix)),
        unknown_(*from.tokens.find(from.unknown)),
        most_characters_(from.most_characters) {
    for (char32_t i = 0; i < ascii_.size(); ++i) ascii_[i] = classes_[i] & parting;
  }

  [[nodiscard]] std::string_view kind() const noexcept override { return "WordPiece"; }

  /// Words are what is between white space and punctuation; each punctuation mark is one.
  void encode(std::string_view text, id_sink& to) const override {
    const char* at = text.data();
    const char* const end = at + text.size();
    const char* word = at;
    while (at < end) {
      const char* const begin = at;
      std::uint8_t parts = 0;
      if (const auto byte = static_cast<std::uint8_t>(*at); byte < 0x80) {
        parts = ascii_[byte];
        ++at;
      } else {
        parts = classes_[next_character(at)] & parting;
      }
      if (parts == 0) continue;
      if (word < begin) encode_word({word, begin}, to);
      if ((parts & character_class::punctuation) != 0) encode_word({begin, at}, to);
      word = at;
    }
    if (word < end) encode_word({word, end}, to);
  }

 private:
  static constexpr std::uint8_t parting = character_class::space | character_class::punctuation;

  /// The longest piece first, again and again; a word that is not all pieces is unknown.
  void encode_word(std::string_view word, id_sink& to) const {
    if (word.size() > most_characters_ && is_too_long(word)) return to.add(unknown_);
    const auto before = to.count();
    auto from = word_trie::root;
    for (auto rest = word; !rest.empty();) {
      const auto piece = trie_.longest(rest, from);
      if (piece.id < 0) {
        to.cut(before);
        return to.add(unknown_);
      }
      to.add(piece.id);
      rest.remove_prefix(piece.size);
      if (!continuing_ && !rest.empty()) {
        to.cut(before);
        return to.add(unknown_);
      }
      from = continuing_.value_or(word_trie::root);
    }
  }

  [[nodiscard]] bool is_too_long(std::string_view word) const noexcept {
    const auto continued = std::count_if(word.begin(), word.end(), is_continuation);
    return word.size() - static_cast<std::size_t>(continued) > most_characters_;
  }

  const character_pages<std::uint8_t>& classes_ = character_classes();
  std::array<std::uint8_t, 128> ascii_{};
  word_trie trie_;
  std::optional<word_trie::node> continuing_;
  token_id unknown_;
  std::size_t most_characters_;
};

}  // namespace

std::unique_ptr<const model> word_piece_model(const word_pieces& from) { return std::make_unique<word_piece>(from); }

}  // namespace shoal::text
