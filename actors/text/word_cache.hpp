// Ids of words that were merged lately: a table of 16384 places (1.5 MiB) for each thread, which all tokenizers share.
// A word has one place, and takes it from the one before.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "text/id_table.hpp"

namespace shoal::text {

class word_cache {
 public:
  /// The calling thread's.
  static word_cache& of_this_thread();
  /// A number that no other tokenizer has, for `owner`.
  static std::uint64_t new_owner();

  /// Empty: not there. Good until the next `put`.
  [[nodiscard]] std::span<const token_id> find(std::uint64_t owner, std::string_view word, std::uint64_t hash) const;
  /// Long words are not kept, nor those without ids.
  void put(std::uint64_t owner, std::string_view word, std::uint64_t hash, std::span<const token_id> ids);

 private:
  static constexpr std::size_t places = 16384;
  static constexpr std::size_t most_bytes = 30;
  static constexpr std::size_t most_ids = 12;

  struct place {
    std::uint64_t owner = 0;
    std::uint64_t hash = 0;
    std::uint8_t size = 0;
    std::uint8_t count = 0;
    std::array<char, most_bytes> bytes{};
    std::array<token_id, most_ids> ids{};
  };

  std::unique_ptr<place[]> places_ = std::make_unique<place[]>(places);
};

}  // namespace shoal::text
