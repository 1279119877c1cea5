// A value for every code point, in pages of 256 of which equal ones are kept once. Immutable once built.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace shoal::text {

template <class Value>
class character_pages {
 public:
  static constexpr char32_t end = 0x110000;

  /// `value_of` is asked once for each code point, in order.
  template <class Function>
  explicit character_pages(Function value_of) {
    std::map<page, std::uint16_t> known;
    for (char32_t first = 0; first < end; first += page_size) {
      page made;
      for (char32_t i = 0; i < page_size; ++i) made[i] = value_of(first + i);
      const auto [at, is_new] = known.emplace(made, static_cast<std::uint16_t>(pages_.size()));
      if (is_new) pages_.push_back(made);
      index_[first / page_size] = at->second;
    }
  }

  Value operator[](char32_t character) const noexcept {
    return pages_[index_[character / page_size]][character % page_size];
  }

 private:
  static constexpr char32_t page_size = 256;
  using page = std::array<Value, page_size>;

  std::array<std::uint16_t, end / page_size> index_{};
  std::vector<page> pages_;
};

}  // namespace shoal::text
