#include <doctest/doctest.h>

#include <map>
#include <random>

#include "text/word_trie.hpp"

namespace {

using namespace shoal::text;

}  // namespace

TEST_CASE("the trie finds the longest of random words, as a search of all finds it") {
  std::mt19937 draw(7);
  for (const int letters : {2, 5, 256}) {
    std::map<std::string, token_id> words;
    while (words.size() < 3'000) {
      std::string word(1 + draw() % 12, '\0');
      for (auto& each : word) each = static_cast<char>(draw() % static_cast<unsigned>(letters));
      words.emplace(word, static_cast<token_id>(words.size()));
    }
    std::vector<word_trie::word> listed;
    for (const auto& [word, id] : words) listed.push_back({word, id});
    const word_trie trie(listed);
    for (int i = 0; i < 3'000; ++i) {
      std::string text(draw() % 16, '\0');
      for (auto& each : text) each = static_cast<char>(draw() % static_cast<unsigned>(letters));
      word_trie::match wanted;
      for (std::size_t size = 1; size <= text.size(); ++size)
        if (const auto found = words.find(text.substr(0, size)); found != words.end()) wanted = {found->second, size};
      const auto found = trie.longest(text);
      REQUIRE(found.id == wanted.id);
      REQUIRE(found.size == wanted.size);
    }
  }
}

TEST_CASE("a trie goes on after a prefix, and has none after what no word begins with") {
  const word_trie trie({{"##ab", 1}, {"##a", 2}, {"a", 3}});
  const auto after = trie.after("##");
  REQUIRE(after.has_value());
  CHECK(trie.longest("abc", *after).id == 1);
  CHECK(trie.longest("ab").id == 3);
  CHECK_FALSE(trie.after("#a").has_value());
}

TEST_CASE("an empty trie finds nothing") { CHECK(word_trie({}).longest("abc").id == -1); }
