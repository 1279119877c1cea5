// Tokens and their ids: a hash table of strings, open addressing, the strings in one piece. Filled by whoever reads the
// file, immutable afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::text {

using token_id = std::int32_t;

class id_table {
 public:
  struct entry {
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
    token_id id = 0;
  };

  /// At most 2^32 bytes of strings. A token that is there gets the new id, as the library does.
  void add(std::string_view token, token_id id);
  [[nodiscard]] std::optional<token_id> find(std::string_view token) const noexcept {
    return find(token, hash_of(token));
  }
  [[nodiscard]] std::optional<token_id> find(std::string_view token, std::uint64_t hash) const noexcept;
  static std::uint64_t hash_of(std::string_view token) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  /// In the order of their first `add`.
  [[nodiscard]] const std::vector<entry>& entries() const noexcept { return entries_; }
  [[nodiscard]] std::string_view token(const entry& of) const noexcept {
    return std::string_view(strings_).substr(of.begin, of.size);
  }

 private:
  struct slot {
    std::uint32_t hash = 0;   ///< the upper half: tells most others apart without a look at the string
    std::uint32_t entry = 0;  ///< one more than the entry's number; 0: free
  };

  [[nodiscard]] std::size_t slot_of(std::string_view token, std::uint64_t hash) const noexcept;
  void grow();

  std::string strings_;
  std::vector<entry> entries_;
  std::vector<slot> slots_ = std::vector<slot>(16);  ///< a power of two, at most half full
};

}  // namespace shoal::text
