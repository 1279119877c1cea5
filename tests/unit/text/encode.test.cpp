// What single settings of a tokenizer.json do, where the references have no example.
#include <doctest/doctest.h>

#include "unit/text/small_tokenizers.hpp"

namespace {

using namespace shoal;
using nlohmann::json;
using ids = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("words become their longest pieces, or unknown as a whole") {
  CHECK(test::ids(test::small_bert(), "ab abc a,b") == ids{1, 6, 6, 7, 3, 8, 4, 2});
  CHECK(test::ids(test::small_bert(), "abx ab") == ids{1, 0, 6, 2});
  CHECK(test::ids(test::small_bert(), "ÁB") == ids{1, 6, 2});
}

TEST_CASE("a word of more characters than the model takes is unknown") {
  auto document = test::small_bert();
  document["model"]["max_input_chars_per_word"] = 3;
  CHECK(test::ids(document, "abb") == ids{1, 6, 5, 2});
  CHECK(test::ids(document, "abbb") == ids{1, 0, 2});
}

TEST_CASE("without tokens that continue a word, no word has two") {
  auto document = test::small_bert();
  document["model"]["continuing_subword_prefix"] = "@@";
  CHECK(test::ids(document, "ab abb") == ids{1, 6, 0, 2});
  document["model"]["continuing_subword_prefix"] = "";
  CHECK(test::ids(document, "abab") == ids{1, 6, 6, 2});
}

TEST_CASE("bytes are merged in the order of the merges") {
  CHECK(test::ids(test::small_gpt2(), "abc abc cab") == ids{5, 7, 3, 2, 4});
  auto document = test::small_gpt2();
  document["model"]["merges"] = json::parse(R"([["a", "b"], ["ab", "c"], ["Ġ", "a"]])");  // " abc" cannot be made
  CHECK(test::ids(document, "abc abc") == ids{5, 3, 5});
  document["model"]["ignore_merges"] = true;
  CHECK(test::ids(document, "abc abc") == ids{5, 7});
}

TEST_CASE("the last of two merges of a pair counts") {
  auto document = test::small_gpt2();
  document["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}};
  document["model"]["merges"] = {"a b", "b c"};
  CHECK(test::ids(document, "abc") == ids{3, 2});
  document["model"]["merges"] = {"a b", "b c", "a b"};
  CHECK(test::ids(document, "abc") == ids{0, 4});
}

TEST_CASE("bytes without a token are left out, or unknown, one by one or together") {
  auto document = test::small_gpt2();
  CHECK(test::ids(document, "axxb") == ids{4});  // what is left is merged
  document["model"]["vocab"]["<unk>"] = 8;
  document["model"]["unk_token"] = "<unk>";
  CHECK(test::ids(document, "axxb") == ids{0, 8, 8, 1});
  document["model"]["fuse_unk"] = true;
  CHECK(test::ids(document, "axxbé") == ids{0, 8, 1, 8});
}

TEST_CASE("a space goes before text that has none") {
  auto document = test::small_gpt2();
  document["pre_tokenizer"]["add_prefix_space"] = true;
  CHECK(test::ids(document, "abc") == ids{7});
  CHECK(test::ids(document, " abc") == ids{7});
  CHECK(test::ids(document, "").empty());
}

TEST_CASE("a file that does not say the model's kind is read by what is in it") {
  auto bert = test::small_bert();
  bert["model"].erase("type");
  CHECK(test::read(bert)->kind() == "WordPiece");
  auto gpt2 = test::small_gpt2();
  gpt2["model"].erase("type");
  CHECK(test::read(gpt2)->kind() == "BPE");
}

TEST_CASE("the vocabulary ends behind the highest id") {
  CHECK(test::read(test::small_bert())->vocabulary() == 9);
  auto document = test::small_bert();
  document["model"]["vocab"]["far"] = 41;
  CHECK(test::read(document)->vocabulary() == 42);
  document["post_processor"]["sep"] = {"[SEP]", 99};
  CHECK(test::read(document)->vocabulary() == 100);
}

TEST_CASE("the padding's id is the file's, else that of a token with such a name, else 0") {
  auto document = test::small_bert();
  CHECK(test::read(document)->pad_id() == 0);
  document["model"]["vocab"]["<pad>"] = 9;
  CHECK(test::read(document)->pad_id() == 9);
  document["added_tokens"] = {test::added(10, "[PAD]")};
  CHECK(test::read(document)->pad_id() == 10);
  document["padding"] = {{"strategy", "BatchLongest"}, {"pad_id", 4}};
  CHECK(test::read(document)->pad_id() == 4);
}

TEST_CASE("truncation in the file is ignored") {
  auto document = test::small_bert();
  document["truncation"] = {{"max_length", 2}, {"strategy", "LongestFirst"}, {"stride", 0}};
  CHECK(test::ids(document, "a b") == ids{1, 3, 4, 2});
}
