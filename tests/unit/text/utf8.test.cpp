#include <doctest/doctest.h>

#include "text/utf8.hpp"
#include "unit/text/small_tokenizers.hpp"

namespace {

using namespace shoal;
using namespace std::string_literals;

}  // namespace

TEST_CASE("what is no UTF-8 is refused with its byte") {
  const auto tokenizer = test::read(test::small_bert());
  const std::pair<std::string, std::size_t> cases[] = {
      {"\x80", 0},                      // begins with a continuation
      {"ab\xC3", 2},                    // cut off
      {"ab\xE4\xB8", 2},                //
      {"ab\xF0\x9F\x98", 2},            //
      {"abcdefgh\xC3(", 8},             // no continuation
      {"\xC0\xAF", 0},                  // overlong
      {"a\xE0\x80\xAF", 1},             //
      {"a\xF0\x80\x80\xAF", 1},         //
      {"a\xED\xA0\x80", 1},             // a surrogate
      {"\xED\xA0\xBD\xED\xB8\x80", 0},  // a pair of them, as CESU-8 has it
      {"a\xF4\x90\x80\x80", 1},         // above U+10FFFF
      {"\xF8\x88\x80\x80\x80", 0},      //
      {"a\xFF", 1},                     //
      {"é\xFE", 2},
  };
  for (const auto& [text, byte] : cases) {
    CAPTURE(text.size());
    CHECK(text::first_malformed(text) == byte);
    const auto encoded = tokenizer->encode(text);
    REQUIRE_FALSE(encoded.has_value());
    CHECK(encoded.error().code == errc::invalid_argument);
    CHECK(encoded.error().message == "the text is not UTF-8 at byte " + std::to_string(byte) + ": send it in UTF-8");
  }
}

TEST_CASE("every character survives being written and read") {
  for (char32_t character = 0; character < 0x110000; ++character) {
    if (character >= 0xD800 && character <= 0xDFFF) continue;
    std::string text;
    text::append_utf8(character, text);
    const char* at = text.data();
    const bool survives = text::first_malformed(text) == text.size() && text::last_character(text) == character &&
                          text::next_character(at) == character && at == text.data() + text.size();
    if (!survives) FAIL_CHECK("U+", static_cast<std::uint32_t>(character), " is read otherwise");
  }
}

TEST_CASE("text that is well formed, NUL included, is encoded") {
  const auto tokenizer = test::read(test::small_bert());
  CHECK(tokenizer->encode("a\0b\xF4\x8F\xBF\xBF"s).has_value());
  CHECK(tokenizer->encode("")->ids == std::vector<std::int64_t>{1, 2});
}
