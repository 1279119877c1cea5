#include "text/added_tokens.hpp"

#include <algorithm>
#include <cstring>
#include <map>

#include "text/unicode_rules.hpp"
#include "text/utf8.hpp"

namespace shoal::text {

namespace {

bool is_of(std::uint8_t classes, char32_t character) { return (character_classes()[character] & classes) != 0; }

std::vector<word_trie::word> words_of(const std::vector<token_finder::pattern>& patterns) {
  std::vector<word_trie::word> words;
  for (std::size_t i = 0; i < patterns.size(); ++i) words.push_back({patterns[i].text, static_cast<token_id>(i)});
  return words;
}

}  // namespace

token_finder::token_finder(std::vector<pattern> patterns) : patterns_(std::move(patterns)) {
  std::erase_if(patterns_, [](const pattern& each) { return each.text.empty(); });
  if (patterns_.empty()) return;
  trie_.emplace(words_of(patterns_));
  for (const auto& each : patterns_) begins_[static_cast<std::uint8_t>(each.text.front())] = true;
  if (std::count(begins_.begin(), begins_.end(), true) == 1) only_first_ = patterns_.front().text.front();
}

std::optional<token_finder::place> token_finder::find(std::string_view text, std::size_t from) const noexcept {
  if (patterns_.empty()) return std::nullopt;
  for (auto at = from; at < text.size(); ++at) {
    if (only_first_) {
      at = text.find(*only_first_, at);
      if (at == std::string_view::npos) return std::nullopt;
    } else if (!begins_[static_cast<std::uint8_t>(text[at])]) {
      continue;
    }
    const auto longest = trie_->longest(text.substr(at));
    if (longest.id >= 0) return place{at, longest.size, static_cast<std::size_t>(longest.id)};
  }
  return std::nullopt;
}

token_finder::span token_finder::reach(std::string_view text, const place& found, std::size_t done) const noexcept {
  const auto& how = patterns_[found.pattern].how;
  span taken{found.begin, found.begin + found.size};
  const auto before = text.substr(0, taken.begin);
  const auto after = text.substr(taken.end);
  if (how.is_single_word) {
    const char* next = after.data();
    if ((!before.empty() && is_of(character_class::word, last_character(before))) ||
        (!after.empty() && is_of(character_class::word, next_character(next))))
      return {1, 0};
  }
  if (how.strips_left) {
    // The token before may have taken the white space already.
    while (taken.begin > done) {
      const auto left = text.substr(0, taken.begin);
      if (!is_of(character_class::space, last_character(left))) break;
      do --taken.begin;
      while (is_continuation(text[taken.begin]));
    }
    taken.begin = std::max(taken.begin, done);
  }
  if (how.strips_right)
    for (const char* at = after.data(); at < text.data() + text.size();) {
      if (!is_of(character_class::space, next_character(at))) break;
      taken.end = static_cast<std::size_t>(at - text.data());
    }
  return taken;
}

struct added_tokens::sorted {
  std::vector<token_finder::pattern> raw, normalised;
  id_table ids;
};

namespace {

struct owner {
  added_token token;
  std::string normalised;
};

}  // namespace

added_tokens::added_tokens(const std::vector<added_token>& listed, const id_table& vocabulary,
                           const normaliser* normalises)
    : added_tokens([&] {
        sorted made;
        std::map<token_id, owner> owners;  // one for each id: a later one takes it over
        auto next = static_cast<token_id>(vocabulary.size());
        for (const auto& each : listed) {
          if (each.content.empty()) continue;
          auto id = made.ids.find(each.content);
          if (!id) id = vocabulary.find(each.content);
          if (!id) id = next++;
          auto text = each.content;
          if (each.is_normalised && normalises != nullptr) {
            text.clear();
            normalises->append(each.content, text);
          }
          owners.insert_or_assign(*id, owner{each, std::move(text)});
          made.ids.add(each.content, *id);
        }
        // Of those that are the same once normalised the lowest id counts: the trie takes the first.
        for (auto& [id, owner] : owners)
          (owner.token.is_normalised ? made.normalised : made.raw)
              .push_back({std::move(owner.normalised), id, std::move(owner.token)});
        return made;
      }()) {}

added_tokens::added_tokens(sorted from)
    : raw(std::move(from.raw)), normalised(std::move(from.normalised)), ids(std::move(from.ids)) {}

}  // namespace shoal::text
