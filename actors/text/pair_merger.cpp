#include "text/pair_merger.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>

#include "text/byte_level.hpp"

namespace shoal::text {

namespace {

/// Up to here looking at every pair again is faster than a heap.
constexpr std::size_t few = 64;

}  // namespace

pair_merger::pair_merger(const byte_pairs& from) : unknown_(from.unknown), fuses_unknown_(from.fuses_unknown) {
  bytes_.fill(-1);
  for (const auto& each : from.tokens.entries())
    if (each.size <= 2)
      if (const auto bytes = bytes_of_token(from.tokens.token(each)); bytes && bytes->size() == 1)
        bytes_[static_cast<std::uint8_t>(bytes->front())] = each.id;
  slots_.resize(std::bit_ceil(from.merges.size() * 4 + 4));
  shift_ = 64 - std::countr_zero(slots_.size());
  for (std::size_t i = 0; i < from.merges.size(); ++i) {
    const auto& each = from.merges[i];
    const auto pair = key(each.left, each.right);
    auto at = home(pair);
    while (slots_[at].pair != no_pair && slots_[at].pair != pair) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {pair, {static_cast<std::uint32_t>(i), each.whole}};
  }
}

void pair_merger::merge(std::string_view word, std::vector<token_id>& to) const {
  const auto before = to.size();
  spell(word, to);
  if (to.size() - before <= few)
    merge_few(to, before);
  else
    merge_many(to, before);
}

void pair_merger::spell(std::string_view word, std::vector<token_id>& to) const {
  bool was_unknown = false;
  for (const char each : word) {
    const auto id = bytes_[static_cast<std::uint8_t>(each)];
    if (id >= 0)
      to.push_back(id);
    else if (unknown_ && !(was_unknown && fuses_unknown_))
      to.push_back(*unknown_);
    was_unknown = id < 0;
  }
}

void pair_merger::merge_few(std::vector<token_id>& to, std::size_t from) const {
  // Of the pair that each id there makes with the next one: ranks alone, as looking for the lowest is most of the work.
  std::uint32_t ranks[few];
  token_id wholes[few];
  auto* const ids = to.data() + from;
  auto size = to.size() - from;
  const auto look = [&](std::size_t i) {
    const auto pair = look_up(ids[i], ids[i + 1]);
    ranks[i] = pair.rank;
    wholes[i] = pair.whole;
  };
  for (std::size_t i = 0; i + 1 < size; ++i) look(i);
  while (size > 1) {
    std::size_t best = 0;
    auto lowest = ranks[0];
    for (std::size_t i = 1; i + 1 < size; ++i) {
      best = ranks[i] < lowest ? i : best;
      lowest = std::min(lowest, ranks[i]);
    }
    if (lowest == no_rank) break;
    ids[best] = wholes[best];
    --size;
    for (auto i = best + 1; i < size; ++i) ids[i] = ids[i + 1];
    for (auto i = best; i + 1 < size; ++i) {
      ranks[i] = ranks[i + 1];
      wholes[i] = wholes[i + 1];
    }
    if (best > 0) look(best - 1);
    if (best + 1 < size) look(best);
  }
  to.resize(from + size);
}

/// As `merge_few`, with a heap of the pairs and a list of the ids that are left.
void pair_merger::merge_many(std::vector<token_id>& to, std::size_t from) const {
  struct part {
    token_id id = -1;  ///< -1: merged into one before it
    std::uint32_t before = 0;
    std::uint32_t after = 0;
  };
  const auto size = static_cast<std::uint32_t>(to.size() - from);
  std::vector<part> parts(size);
  for (std::uint32_t i = 0; i < size; ++i) parts[i] = {to[from + i], i - 1, i + 1};
  // Rank above place, so that the smallest is the next to merge.
  std::vector<std::uint64_t> found;
  for (std::uint32_t i = 0; i + 1 < size; ++i)
    if (const auto pair = look_up(parts[i].id, parts[i + 1].id); pair.rank != no_rank)
      found.push_back(static_cast<std::uint64_t>(pair.rank) << 32 | i);
  std::priority_queue waiting(std::greater<>(), std::move(found));
  const auto wait_for = [&](std::uint32_t left, std::uint32_t right) {
    if (const auto pair = look_up(parts[left].id, parts[right].id); pair.rank != no_rank)
      waiting.push(static_cast<std::uint64_t>(pair.rank) << 32 | left);
  };
  while (!waiting.empty()) {
    const auto rank = static_cast<std::uint32_t>(waiting.top() >> 32);
    const auto at = static_cast<std::uint32_t>(waiting.top());
    waiting.pop();
    auto& left = parts[at];
    if (left.id < 0 || left.after == size) continue;
    auto& right = parts[left.after];
    const auto pair = look_up(left.id, right.id);
    if (pair.rank != rank) continue;  // one of the two became part of another merge
    left.id = pair.whole;
    right.id = -1;
    left.after = right.after;
    if (left.after != size) {
      parts[left.after].before = at;
      wait_for(at, left.after);
    }
    if (at != 0) wait_for(left.before, at);
  }
  auto kept = from;
  for (std::uint32_t at = 0; at != size; at = parts[at].after) to[kept++] = parts[at].id;
  to.resize(kept);
}

}  // namespace shoal::text
