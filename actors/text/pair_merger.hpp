// Byte pair encoding of one word: the pair that the merges have first, leftmost among the same, is merged until none is
// left (R. Sennrich et al., "Neural machine translation of rare words with subword units", 2016). Immutable once made;
// any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/model.hpp"

namespace shoal::text {

class pair_merger {
 public:
  explicit pair_merger(const byte_pairs& from);

  /// Appends the ids of a word, in time that is quadratic for short words only.
  void merge(std::string_view word, std::vector<token_id>& to) const;

 private:
  struct merged {
    std::uint32_t rank = no_rank;
    token_id whole = 0;
  };
  struct slot {
    std::uint64_t pair = no_pair;
    merged as;
  };
  static constexpr std::uint32_t no_rank = 0xFFFFFFFF;
  static constexpr std::uint64_t no_pair = ~std::uint64_t{};

  [[nodiscard]] merged look_up(token_id left, token_id right) const noexcept {
    const auto pair = key(left, right);
    const auto mask = slots_.size() - 1;
    for (auto at = home(pair);; at = (at + 1) & mask) {
      if (slots_[at].pair == pair) return slots_[at].as;
      if (slots_[at].pair == no_pair) return {};
    }
  }
  static std::uint64_t key(token_id left, token_id right) noexcept {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }
  [[nodiscard]] std::size_t home(std::uint64_t pair) const noexcept {
    return static_cast<std::size_t>((pair ^ pair >> 29) * 0x9E3779B97F4A7C15 >> shift_);
  }

  /// Appends the ids of the word's bytes.
  void spell(std::string_view word, std::vector<token_id>& to) const;
  void merge_few(std::vector<token_id>& to, std::size_t from) const;
  void merge_many(std::vector<token_id>& to, std::size_t from) const;

  std::array<token_id, 256> bytes_{};  ///< -1: no such token
  std::optional<token_id> unknown_;
  bool fuses_unknown_ = false;
  std::vector<slot> slots_;  ///< a power of two, at most a quarter full: most pairs are not there
  int shift_ = 0;
};

}  // namespace shoal::text
