#include "gateway/http_door/json_reader.hpp"

#include <random>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using shoal::gateway::http_door::json_reader;

namespace {

bool accepts(std::string_view text) {
  json_reader reader(text);
  reader.skip();
  reader.end();
  return !reader.failed();
}

/// The nesting we refuse and nlohmann does not, and the words it does not know.
bool is_comparable(const std::string& text) {
  return text.find("NaN") == std::string::npos && text.find("Infinity") == std::string::npos;
}

}  // namespace

TEST_CASE("members, elements and values are read where they stand") {
  json_reader reader(R"( {"a" : [1, -2 ,3], "b\n\u00e9\ud83d\ude00": "x\"y", "c": {"deep": [true, null, 1.5e3]}} )");
  std::string seen;
  reader.object([&](std::string_view name) {
    seen += std::string(name) + '|';
    if (name == "a")
      reader.array([&] { seen += std::to_string(*reader.integer()) + ','; });
    else if (name == "c")
      seen += reader.skip();
    else
      seen += reader.string();
  });
  reader.end();
  CHECK_FALSE(reader.failed());
  CHECK(seen == "a|1,-2,3,b\n\u00e9\U0001F600|x\"yc|{\"deep\": [true, null, 1.5e3]}");
}

TEST_CASE("an integer is only what is written as one and fits") {
  for (auto text : {"1.0", "1e3", "9223372036854775808", "true", "\"1\"", "NaN", "[1]"}) {
    CAPTURE(text);
    json_reader reader(text);
    CHECK_FALSE(reader.integer());
    reader.end();
    CHECK_FALSE(reader.failed());
  }
  CHECK(*json_reader("-9223372036854775808").integer() == std::numeric_limits<std::int64_t>::min());
}

TEST_CASE("the first error stays, with its place") {
  json_reader reader(R"({"a": 1, "b" 2})");
  reader.object([&](std::string_view) { reader.skip(); });
  reader.fail("a later one");
  REQUIRE(reader.failed());
  CHECK(reader.failure().message == "the JSON is malformed at byte 13: expected ':'");
}

TEST_CASE("deep nesting is refused, not followed") {
  CHECK(accepts(std::string(32, '[') + std::string(32, ']')));
  CHECK_FALSE(accepts(std::string(33, '[') + std::string(33, ']')));
  CHECK_FALSE(accepts(std::string(1'000'000, '[')));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  CHECK_FALSE(accepts(objects));
}

TEST_CASE("strings that are not UTF-8 are refused") {
  for (auto text : {"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\"", "\"\x01\"",
                    "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\x\"", "\"\\u12\"", "\"open", "\"\\"}) {
    CAPTURE(text);
    CHECK_FALSE(accepts(text));
  }
  CHECK(accepts("\"\xe2\x82\xac \xf4\x8f\xbf\xbf\""));
}

TEST_CASE("what is accepted is what another parser accepts, over a hundred thousand mutations") {
  const std::string seed_text = R"({"id":"\u00e9x","a":[1,-0.5e+3,[true,false,null],{"k":[]}],"n":-0,"s":"q\"\\"})";
  static constexpr std::string_view alphabet = "{}[],:\"\\ \n0123456789.-+eEtrufalsn\x80\xc3\xa9/b";
  std::mt19937 random(7);
  for (int i = 0; i < 100'000; ++i) {
    auto text = seed_text;
    for (auto edits = random() % 3 + 1; edits > 0; --edits) {
      auto at = random() % text.size();
      if (random() % 3 == 0)
        text.erase(at, random() % 4);
      else if (random() % 2 == 0)
        text[at] = alphabet[random() % alphabet.size()];
      else
        text.insert(at, 1, alphabet[random() % alphabet.size()]);
      if (text.empty()) text = "0";
    }
    if (!is_comparable(text)) continue;
    bool same = accepts(text) == nlohmann::json::accept(text);
    if (!same) FAIL(text);
  }
}
