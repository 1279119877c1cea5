// Vocabularies and merges that do not fit.
#include <doctest/doctest.h>

#include "unit/text/small_tokenizers.hpp"

namespace {

using namespace shoal;
using nlohmann::json;
using namespace std::string_literals;

bool says(const error& wrong, std::string_view what) { return wrong.message.find(what) != std::string::npos; }

error with_vocabulary(const json& vocabulary) {
  auto document = test::small_bert();
  document["model"]["vocab"] = vocabulary;
  return test::refused(document);
}

error with_merges(const json& merges) {
  auto document = test::small_gpt2();
  document["model"]["merges"] = merges;
  return test::refused(document);
}

}  // namespace

TEST_CASE("a model of another kind is refused by its name") {
  for (const auto* kind : {"Unigram", "WordLevel", "Other"}) {
    auto document = test::small_bert();
    document["model"] = {{"type", kind}, {"vocab", {{"a", -1.5}, {"b", -2.5}}}};
    const auto wrong = test::refused(document);
    CHECK(wrong.code == errc::unsupported);
    CHECK(wrong.message ==
          "tokenizer.json: the model is of the kind "s + kind + ": WordPiece and byte-level BPE are supported");
  }
  auto document = test::small_bert();
  document["model"] = {{"type", "Unigram"}, {"vocab", json::array({json::array({"a", -1.5})})}};
  CHECK(test::refused(document).code == errc::unsupported);
}

TEST_CASE("ids that are none are refused") {
  for (const auto& id : {json(-1), json(1.0), json("1"), json(nullptr), json(2147483648LL), json(1e30),
                         json::array({1}), json{{"a", 1}}}) {
    CAPTURE(id.dump());
    CHECK(with_vocabulary({{"[UNK]", 0}, {"a", id}}).code == errc::corrupt);
  }
  CHECK(says(with_vocabulary({{"[UNK]", 0}, {"a", 5}, {"b", 5}}), "gives the id 5 to two tokens, \"a\" and \"b\""));
}

TEST_CASE("vocabularies that are none are refused") {
  CHECK(says(with_vocabulary(json::object()), "no vocabulary"));
  CHECK(with_vocabulary(json::array({"a", "b"})).code == errc::corrupt);
  CHECK(with_vocabulary("a").code == errc::corrupt);
  CHECK(says(with_vocabulary({{"a", 0}}), "unk_token \"[UNK]\" is not in its vocabulary"));
  CHECK(says(with_vocabulary({{"[UNK]", 0}, {"a\0"s, 1}}), "NUL"));
}

TEST_CASE("a vocabulary with more tokens or more text than is read is refused") {
  std::string text = R"({"model":{"vocab":{)";
  for (int i = 0; i <= 4'000'000; ++i) text += "\"" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  CHECK(test::refused(text).code == errc::too_large);
  json vocabulary{{"[UNK]", 0}};
  for (int i = 1; i < 34; ++i) vocabulary[std::to_string(i) + std::string(1 << 20, 'x')] = i;
  CHECK(with_vocabulary(vocabulary).code == errc::too_large);
}

TEST_CASE("merges that do not fit the vocabulary are refused") {
  CHECK(says(with_merges({"a b", "a z"}), "merge 1 needs the token \"z\""));
  CHECK(says(with_merges({"b a"}), "needs the token \"ba\""));
  CHECK(says(with_merges({"ab"}), "the merge \"ab\" is not two tokens"));
  CHECK(says(with_merges({"a b c"}), "is not two tokens"));
  for (const auto& merge : {json(3), json::array({"a"}), json::array({"a", "b", "c"}), json::array({"a", 3}),
                            json::array({json::array({"a"}), "b"}), json{{"a", "b"}}, json(nullptr)}) {
    CAPTURE(merge.dump());
    CHECK(with_merges(json::array({merge})).code == errc::corrupt);
  }
  CHECK(with_merges("a b").code == errc::corrupt);
  auto document = test::small_gpt2();
  document["model"].erase("merges");
  CHECK(says(test::refused(document), "has no merges"));
}

TEST_CASE("what byte-level BPE has not is refused by its name") {
  const std::pair<const char*, json> settings[] = {
      {"byte_fallback", true}, {"dropout", 0.1}, {"continuing_subword_prefix", "##"}, {"end_of_word_suffix", "</w>"}};
  for (const auto& [key, value] : settings) {
    auto document = test::small_gpt2();
    document["model"][key] = value;
    const auto wrong = test::refused(document);
    CHECK(wrong.code == errc::unsupported);
    CHECK(says(wrong, key));
  }
  auto document = test::small_gpt2();
  document["model"]["unk_token"] = "<unk>";
  CHECK(says(test::refused(document), "unk_token \"<unk>\" is not in its vocabulary"));
}
