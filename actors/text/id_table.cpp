#include "text/id_table.hpp"

#include <xxhash.h>

namespace shoal::text {

namespace {

std::uint32_t upper(std::uint64_t hash) noexcept { return static_cast<std::uint32_t>(hash >> 32); }

}  // namespace

std::uint64_t id_table::hash_of(std::string_view token) noexcept { return XXH3_64bits(token.data(), token.size()); }

/// Of the token, or the free one where it belongs.
std::size_t id_table::slot_of(std::string_view token, std::uint64_t hash) const noexcept {
  const auto mask = slots_.size() - 1;
  for (auto at = static_cast<std::size_t>(hash) & mask;; at = (at + 1) & mask) {
    const auto& slot = slots_[at];
    if (slot.entry == 0 || (slot.hash == upper(hash) && this->token(entries_[slot.entry - 1]) == token)) return at;
  }
}

void id_table::add(std::string_view token, token_id id) {
  const auto hash = hash_of(token);
  auto& slot = slots_[slot_of(token, hash)];
  if (slot.entry != 0) {
    entries_[slot.entry - 1].id = id;
    return;
  }
  entries_.push_back({static_cast<std::uint32_t>(strings_.size()), static_cast<std::uint32_t>(token.size()), id});
  strings_ += token;
  slot = {upper(hash), static_cast<std::uint32_t>(entries_.size())};
  if (entries_.size() * 2 > slots_.size()) grow();
}

void id_table::grow() {
  slots_.assign(slots_.size() * 2, {});
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const auto text = token(entries_[i]);
    const auto hash = hash_of(text);
    slots_[slot_of(text, hash)] = {upper(hash), static_cast<std::uint32_t>(i + 1)};
  }
}

std::optional<token_id> id_table::find(std::string_view token, std::uint64_t hash) const noexcept {
  const auto& slot = slots_[slot_of(token, hash)];
  if (slot.entry == 0) return std::nullopt;
  return entries_[slot.entry - 1].id;
}

}  // namespace shoal::text
