#include "text/word_trie.hpp"

#include <algorithm>
#include <span>

namespace shoal::text {

namespace {

/// Places are looked for in the newest blocks only, so that building takes linear time; what stays free in older ones
/// is little, as most nodes have one child and fit anywhere.
constexpr std::uint32_t block = 256;
constexpr std::uint32_t open_blocks = 16;

}  // namespace

class word_trie::builder {
 public:
  explicit builder(std::vector<unit>& units) : units_(units) {
    add_block();
    take(root, nobody - 1);
  }

  void place(std::span<const word> all) {
    struct task {
      std::size_t first, last, depth;
      node at;
    };
    std::vector<task> todo{{0, all.size(), 0, root}};
    std::vector<std::uint8_t> labels;
    std::vector<std::size_t> begins;
    while (!todo.empty()) {
      const auto [first, last, depth, at] = todo.back();
      todo.pop_back();
      auto i = first;
      if (i < last && all[i].text.size() == depth) units_[at].id = all[i].id;  // sorted: the lowest id is first
      while (i < last && all[i].text.size() == depth) ++i;
      labels.clear();
      begins.clear();
      for (; i < last; ++i) {
        const auto label = static_cast<std::uint8_t>(all[i].text[depth]);
        if (!labels.empty() && labels.back() == label) continue;
        labels.push_back(label);
        begins.push_back(i);
      }
      if (labels.empty()) continue;
      begins.push_back(last);
      const auto base = find_base(labels);
      units_[at].base = base;
      for (std::size_t child = 0; child < labels.size(); ++child) {
        take(base ^ labels[child], at);
        todo.push_back({begins[child], begins[child + 1], depth + 1, base ^ labels[child]});
      }
    }
  }

 private:
  void add_block() {
    const auto from = static_cast<std::uint32_t>(units_.size());
    units_.resize(from + block);
    for (std::uint32_t i = 0; i < block; ++i) free_.push_back(from + i);
    const auto oldest = from + block > open_blocks * block ? from + block - open_blocks * block : 0;
    std::erase_if(free_, [&](std::uint32_t each) { return each < oldest || units_[each].parent != nobody; });
  }

  std::uint32_t find_base(std::span<const std::uint8_t> labels) {
    std::size_t looked = 0;
    for (const auto each : free_) {
      if (units_[each].parent != nobody) continue;
      const auto base = each ^ labels.front();
      if (std::all_of(labels.begin(), labels.end(), [&](auto label) { return units_[base ^ label].parent == nobody; }))
        return base;
      if (++looked == block) break;
    }
    const auto empty = static_cast<std::uint32_t>(units_.size());
    add_block();
    return empty;
  }

  void take(std::uint32_t place, node parent) {
    units_[place].parent = parent;
    if (++taken_ % block == 0) std::erase_if(free_, [&](std::uint32_t each) { return units_[each].parent != nobody; });
  }

  std::vector<unit>& units_;
  std::vector<std::uint32_t> free_;  ///< places of the newest blocks, some of which may be taken by now
  std::uint64_t taken_ = 0;
};

word_trie::word_trie(std::vector<word> words) {
  std::sort(words.begin(), words.end(), [](const word& a, const word& b) {
    const auto order = a.text.compare(b.text);
    return order != 0 ? order < 0 : a.id < b.id;
  });
  builder(units_).place(words);
}

std::optional<word_trie::node> word_trie::after(std::string_view prefix) const noexcept {
  auto at = root;
  for (const char byte : prefix) {
    const auto next = units_[at].base ^ static_cast<std::uint8_t>(byte);
    if (units_[next].parent != at) return std::nullopt;
    at = next;
  }
  return at;
}

}  // namespace shoal::text
