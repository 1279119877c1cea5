// How many ids there may be, and texts of a size that a quadratic step would show in.
#include <doctest/doctest.h>

#include "unit/text/references.hpp"
#include "unit/text/small_tokenizers.hpp"

namespace {

using namespace shoal;
using ids = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("a limit keeps the beginning of the text and all special tokens, and tells how many there were") {
  const auto tokenizer = test::read(test::small_bert());
  for (std::size_t most = 2; most < 9; ++most) {
    const auto encoded = tokenizer->encode("a b, a b", most);
    REQUIRE(encoded.has_value());
    const ids all{3, 4, 8, 3, 4};
    const auto kept = std::min<std::size_t>(most - 2, all.size());
    ids wanted{1};
    wanted.insert(wanted.end(), all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept));
    wanted.push_back(2);
    CHECK(encoded->ids == wanted);
    CHECK(encoded->types == ids(wanted.size(), 0));
    CHECK(encoded->whole == 7);
  }
}

TEST_CASE("a limit below the special tokens is refused") {
  const auto tokenizer = test::read(test::small_bert());
  for (const std::size_t most : {0, 1}) {
    const auto encoded = tokenizer->encode("a", most);
    REQUIRE_FALSE(encoded.has_value());
    CHECK(encoded.error().code == errc::invalid_argument);
  }
  CHECK(test::read(test::small_gpt2())->encode("a", 0)->whole == 1);
}

TEST_CASE("a limit within a word that turns out unknown keeps the unknown token") {
  const auto tokenizer = test::read(test::small_bert());
  const auto encoded = tokenizer->encode("abbbz a", 4);
  REQUIRE(encoded.has_value());
  CHECK(encoded->ids == ids{1, 0, 3, 2});
  CHECK(encoded->whole == 4);
}

TEST_CASE("a limit gives the beginning of the whole ids, for every reference") {
  auto texts = test::reference_texts();
  texts.resize(200);
  for (const auto& folder : test::reference_tokenizers()) {
    const auto tokenizer = text::tokenizer::read(folder / "tokenizer.json").value();
    const auto around = tokenizer->encode("")->ids.size();
    const auto wanted = test::reference_ids(folder);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto cut = tokenizer->encode(texts[i], around + 3);
      REQUIRE(cut.has_value());
      REQUIRE(cut->whole == wanted[i].size());
      REQUIRE(cut->ids.size() == std::min(wanted[i].size(), around + 3));
      REQUIRE(std::equal(cut->ids.begin(), cut->ids.end() - static_cast<std::ptrdiff_t>((around + 1) / 2),
                         wanted[i].begin()));
    }
  }
}

TEST_CASE("a megabyte without a space ends") {
  for (const auto& folder : test::reference_tokenizers()) {
    const auto tokenizer = text::tokenizer::read(folder / "tokenizer.json").value();
    for (const auto* unit : {"a", "ab", "!", "é", "a\xCC\x81", "\xF0\x9D\x85\xA5\xE3\x80\xAE", " ", "[SEP", "<pad>"}) {
      std::string text;
      while (text.size() < 1'000'000) text += unit;
      CHECK(tokenizer->encode(text).has_value());
    }
  }
}
