#include "text/word_cache.hpp"

#include <algorithm>
#include <atomic>

namespace shoal::text {

word_cache& word_cache::of_this_thread() {
  thread_local word_cache mine;
  return mine;
}

std::uint64_t word_cache::new_owner() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

std::span<const token_id> word_cache::find(std::uint64_t owner, std::string_view word, std::uint64_t hash) const {
  const auto& at = places_[hash % places];
  if (at.owner != owner || at.hash != hash || word != std::string_view(at.bytes.data(), at.size)) return {};
  return {at.ids.data(), at.count};
}

void word_cache::put(std::uint64_t owner, std::string_view word, std::uint64_t hash, std::span<const token_id> ids) {
  if (word.size() > most_bytes || ids.size() > most_ids) return;
  auto& at = places_[hash % places];
  at.owner = owner;
  at.hash = hash;
  at.size = static_cast<std::uint8_t>(word.size());
  at.count = static_cast<std::uint8_t>(ids.size());
  std::copy(word.begin(), word.end(), at.bytes.begin());
  std::copy(ids.begin(), ids.end(), at.ids.begin());
}

}  // namespace shoal::text
