// A trie over bytes as a double array (J. Aoe, "An efficient digital search algorithm by using a double-array
// structure", 1989): one look at memory for each byte of a word. Immutable once built.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/id_table.hpp"

namespace shoal::text {

class word_trie {
 public:
  using node = std::uint32_t;
  static constexpr node root = 0;

  struct word {
    std::string_view text;
    token_id id = 0;
  };
  struct match {
    token_id id = -1;      ///< -1: none
    std::size_t size = 0;  ///< of the matched bytes
  };

  /// No empty words. Of words that are the same the lowest id counts.
  explicit word_trie(std::vector<word> words);

  /// The longest word that `text` continues with after what led to `from`.
  [[nodiscard]] match longest(std::string_view text, node from = root) const noexcept {
    match found;
    auto at = from;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto next = units_[at].base ^ static_cast<std::uint8_t>(text[i]);
      if (units_[next].parent != at) break;
      at = next;
      if (units_[at].id >= 0) found = {units_[at].id, i + 1};
    }
    return found;
  }

  /// Where `prefix` leads to, if any word begins with it.
  [[nodiscard]] std::optional<node> after(std::string_view prefix) const noexcept;

 private:
  static constexpr node nobody = 0xFFFFFFFF;

  struct unit {
    std::uint32_t base = 0;
    node parent = nobody;
    token_id id = -1;
  };
  class builder;

  std::vector<unit> units_;
};

}  // namespace shoal::text
