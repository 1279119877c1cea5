// Files that are not what the library writes.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "unit/text/small_tokenizers.hpp"

namespace {

using namespace shoal;
using nlohmann::json;
using namespace std::string_literals;

bool says(const error& wrong, std::string_view what) { return wrong.message.find(what) != std::string::npos; }

}  // namespace

TEST_CASE("what is not JSON, or no object, is refused") {
  for (const auto& text : {""s, "{"s, "[]"s, "3"s, "null"s, "{\"model\":}"s, "\xFF"s, "{\"a\":\"\xFF\"}"s, "{} x"s}) {
    CAPTURE(text);
    CHECK(test::refused(text).code == errc::corrupt);
  }
  CHECK(says(test::refused("{\"a\":"s), "tokenizer.json is not JSON, at byte"));
}

TEST_CASE("a file cut off anywhere is refused") {
  const auto whole = test::small_bert().dump();
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK(test::refused(whole.substr(0, size)).code == errc::corrupt);
}

TEST_CASE("deep nesting is refused") {
  for (const auto& open : {"["s, "{\"a\":"s}) {
    std::string text = "{\"x\":";
    for (int i = 0; i < 100'000; ++i) text += open;
    CHECK(says(test::refused(text), "nested too deeply"));
  }
}

TEST_CASE("a document of too many values, and a text that is too large, are refused") {
  std::string text = "{\"x\":[0";
  for (int i = 0; i < 2'000'000; ++i) text += ",0";
  CHECK(test::refused(text + "]}").code == errc::too_large);
  CHECK(test::refused(std::string((64U << 20) + 1, ' ')).code == errc::too_large);
}

TEST_CASE("a part that is missing or of another kind is refused by its name") {
  auto document = test::small_bert();
  document["normalizer"] = {{"type", "Precompiled"}};
  CHECK(says(test::refused(document), "the normalizer is of the kind Precompiled: BertNormalizer, NFC"));
  document = test::small_bert();
  document["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}}}};
  CHECK(says(test::refused(document), "of the kind Lowercase"));
  document = test::small_bert();
  document["pre_tokenizer"] = {{"type", "Whitespace"}};
  CHECK(says(test::refused(document),
             "the pre-tokenizer is of the kind Whitespace: with WordPiece BertPreTokenizer is supported"));
  document["pre_tokenizer"] = nullptr;
  CHECK(says(test::refused(document), "has no pre-tokenizer"));
  document = test::small_bert();
  document.erase("model");
  CHECK(says(test::refused(document), "tokenizer.json lacks the key model"));
}

TEST_CASE("settings of wrong types are refused") {
  for (const auto* key : {"clean_text", "handle_chinese_chars", "strip_accents", "lowercase"}) {
    auto document = test::small_bert();
    document["normalizer"][key] = "yes";
    CHECK(says(test::refused(document), key));
  }
  for (const auto* key : {"model", "normalizer", "pre_tokenizer", "post_processor", "padding", "added_tokens"})
    for (const auto& value : {json(1), json("x"), json{{"type", 3}}, json{json::array()}}) {
      auto document = test::small_bert();
      document[key] = value;
      CAPTURE(key);
      CHECK(test::refused(document).code == errc::corrupt);
    }
  auto document = test::small_bert();
  document["version"] = "2.0";
  CHECK(test::refused(document).code == errc::unsupported);
}

TEST_CASE("a file that is not there, or is a folder, is an error") {
  const auto folder = std::filesystem::temp_directory_path() / "shoal-tokenizer-file-test";
  std::filesystem::create_directories(folder);
  CHECK(text::tokenizer::read(folder / "none.json").error().code == errc::not_found);
  CHECK(text::tokenizer::read(folder).error().code == errc::unavailable);
  std::ofstream(folder / "tokenizer.json") << test::small_bert().dump();
  CHECK(text::tokenizer::read(folder / "tokenizer.json").has_value());
  std::filesystem::remove_all(folder);
}
