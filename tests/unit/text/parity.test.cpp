// The ids of the library `tokenizers`, for texts in many languages and scripts, every code point, and hostile ones.
#include <doctest/doctest.h>

#include <algorithm>
#include <thread>

#include "text/tokenizer.hpp"
#include "unit/text/references.hpp"

namespace {

using namespace shoal;

/// The number of the first text whose ids are others, its size if there is none.
std::size_t first_difference(const text::tokenizer& tokenizer, const std::vector<std::string>& texts,
                             const std::vector<std::vector<std::int64_t>>& wanted) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto encoded = tokenizer.encode(texts[i]);
    if (!encoded || encoded->ids != wanted[i] || encoded->whole != wanted[i].size() ||
        encoded->types.size() != wanted[i].size())
      return i;
  }
  return texts.size();
}

}  // namespace

TEST_CASE("every tokenizer gives the ids of the library, for every text") {
  const auto texts = test::reference_texts();
  REQUIRE(texts.size() > 10'000);
  for (const auto& folder : test::reference_tokenizers()) {
    CAPTURE(folder.filename().string());
    const auto tokenizer = text::tokenizer::read(folder / "tokenizer.json");
    if (!tokenizer) FAIL(tokenizer.error().message);
    const auto wanted = test::reference_ids(folder);
    REQUIRE(wanted.size() == texts.size());
    const auto first = first_difference(**tokenizer, texts, wanted);
    if (first < texts.size()) FAIL_CHECK("the text ", first, " has other ids: ", texts[first].substr(0, 200));
    std::int64_t highest = 0;
    for (const auto& each : wanted)
      for (const auto id : each) highest = std::max(highest, id);
    CHECK(highest < (*tokenizer)->vocabulary());
  }
}

TEST_CASE("threads that encode at once get the same ids") {
  auto texts = test::reference_texts();
  texts.resize(3'000);
  std::vector<std::shared_ptr<const text::tokenizer>> tokenizers;
  std::vector<std::vector<std::vector<std::int64_t>>> wanted;
  for (const auto& folder : test::reference_tokenizers()) {
    if (folder.filename().string().starts_with("characters")) continue;
    tokenizers.push_back(text::tokenizer::read(folder / "tokenizer.json").value());
    wanted.push_back(test::reference_ids(folder));
  }
  std::vector<std::size_t> first(4);
  std::vector<std::thread> threads;
  for (std::size_t number = 0; number < first.size(); ++number)
    threads.emplace_back([&, number] {
      first[number] = texts.size();
      for (std::size_t i = 0; i < tokenizers.size(); ++i) {
        const auto which = (i + number) % tokenizers.size();
        first[number] = std::min(first[number], first_difference(*tokenizers[which], texts, wanted[which]));
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto each : first) CHECK(each == texts.size());
}
