#include <doctest/doctest.h>

#include "unit/text/small_tokenizers.hpp"

namespace {

using namespace shoal;
using nlohmann::json;
using ids = std::vector<std::int64_t>;

json with(std::vector<json> tokens) {
  auto document = test::small_bert();
  document["post_processor"] = nullptr;
  document["added_tokens"] = tokens;
  return document;
}

json with_one(const std::string& content, std::vector<std::string> set) {
  auto token = test::added(9, content);
  for (const auto& each : set) token[each] = true;
  return with({token});
}

}  // namespace

TEST_CASE("the leftmost and longest added token is found, within words too") {
  const auto document = with({test::added(9, "<x>"), test::added(10, "<x>b"), test::added(11, "a<x")});
  CHECK(test::ids(document, "<x>a") == ids{9, 3});
  CHECK(test::ids(document, "b<x>bb") == ids{4, 10, 4});
  CHECK(test::ids(document, "a<x>") == ids{11, 0});
  CHECK(test::ids(document, "<X>") == ids{0, 0, 0});
}

TEST_CASE("a normalised token is found in normalised text") {
  CHECK(test::ids(with_one("<É>", {"normalized"}), "a<é>b<E>") == ids{3, 9, 4, 9});
  CHECK(test::ids(with_one("<É>", {}), "a<É><é>") == ids{3, 9, 0, 0, 0});
}

TEST_CASE("a single word has no word next to it") {
  const auto document = with_one("<x>", {"single_word"});
  CHECK(test::ids(document, "<x> <x>,<x>") == ids{9, 9, 8, 9});
  CHECK(test::ids(document, "a<x>") == ids{3, 0, 0, 0});
  CHECK(test::ids(document, "<x>\xCC\x81") == ids{0, 0, 0});  // a combining character is part of a word
}

TEST_CASE("a token takes the white space at its sides") {
  auto document = test::small_gpt2();
  auto token = test::added(8, "<x>");
  token["lstrip"] = token["rstrip"] = true;
  document["added_tokens"] = {token};
  CHECK(test::ids(document, "a \xE3\x80\x80 <x>  <x> a") == ids{0, 8, 8, 0});
  document["added_tokens"][0]["lstrip"] = false;
  CHECK(test::ids(document, "a <x> a") == ids{0, 3, 8, 0});
}

TEST_CASE("added tokens have the ids of the vocabulary, or follow it, whatever the file says") {
  CHECK(test::ids(with({test::added(70, "ab"), test::added(71, "<x>")}), "ab<x>") == ids{6, 9});
}

TEST_CASE("of added tokens that are the same once normalised the first is found") {
  auto one = test::added(9, "FOO"), other = test::added(10, "foo");
  one["normalized"] = other["normalized"] = true;
  CHECK(test::ids(with({one, other}), "Foo") == ids{9});
}

TEST_CASE("an added token that is empty, or once normalised, is never found") {
  CHECK(test::ids(with_one("", {}), "a") == ids{3});
  CHECK(test::ids(with_one("\xCC\x81", {"normalized"}), "a\xCC\x81") == ids{3});
}

TEST_CASE("added tokens of wrong types, or too long, are refused") {
  auto document = with({test::added(9, "<x>")});
  document["added_tokens"][0]["lstrip"] = 1;
  CHECK(
      test::refused(document).message ==
      "tokenizer.json: the added token 0.lstrip is neither true nor false: save it again with the tokenizers library");
  document["added_tokens"] = 3;
  CHECK(test::refused(document).code == errc::corrupt);
  CHECK(test::refused(with({test::added(-1, "<x>")})).code == errc::corrupt);
  CHECK(test::refused(with({test::added(9, std::string(1025, 'x'))})).code == errc::too_large);
}
