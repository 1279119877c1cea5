#include <doctest/doctest.h>

#include "unit/text/small_tokenizers.hpp"

namespace {

using namespace shoal;
using nlohmann::json;
using ids = std::vector<std::int64_t>;

json special(const std::string& id, int type) { return {{"SpecialToken", {{"id", id}, {"type_id", type}}}}; }
json sequence(const std::string& id, int type) { return {{"Sequence", {{"id", id}, {"type_id", type}}}}; }

json with_template(const json& single) {
  auto document = test::small_bert();
  document["post_processor"] = {{"type", "TemplateProcessing"},
                                {"single", single},
                                {"pair", json::array()},
                                {"special_tokens",
                                 {{"[CLS]", {{"id", "[CLS]"}, {"ids", {1, 2}}, {"tokens", {"x", "y"}}}},
                                  {"[SEP]", {{"id", "[SEP]"}, {"ids", {2}}, {"tokens", {"[SEP]"}}}}}}};
  return document;
}

}  // namespace

TEST_CASE("a template puts its tokens around, with their types") {
  const auto encoded =
      test::read(with_template({special("[CLS]", 3), sequence("A", 1), special("[SEP]", 0), special("[SEP]", 4)}))
          ->encode("a b", 6);
  REQUIRE(encoded.has_value());
  CHECK(encoded->ids == ids{1, 2, 3, 4, 2, 2});
  CHECK(encoded->types == ids{3, 3, 1, 1, 0, 4});
}

TEST_CASE("a template without the text, with it twice, or with another text is refused") {
  CHECK(test::refused(with_template(json::array({special("[CLS]", 0)}))).code == errc::unsupported);
  CHECK(test::refused(with_template({sequence("A", 0), sequence("A", 0)})).code == errc::unsupported);
  CHECK(test::refused(with_template({sequence("A", 0), sequence("B", 0)})).code == errc::unsupported);
}

TEST_CASE("a template with a token that it does not define is refused") {
  const auto wrong = test::refused(with_template({special("[MASK]", 0), sequence("A", 0)}));
  CHECK(wrong.code == errc::corrupt);
  CHECK(wrong.message.find("[MASK]") != std::string::npos);
}

TEST_CASE("a post-processor of another kind is refused by its name") {
  auto document = test::small_bert();
  document["post_processor"] = {{"type", "Sequence"}, {"processors", json::array()}};
  CHECK(test::refused(document).message ==
        "tokenizer.json: the post-processor is of the kind Sequence: TemplateProcessing, BertProcessing, "
        "RobertaProcessing and ByteLevel are supported");
}

TEST_CASE("no post-processor, or one that moves offsets only, puts nothing around") {
  auto document = test::small_bert();
  document["post_processor"] = nullptr;
  CHECK(test::ids(document, "a") == ids{3});
  document["post_processor"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}};
  CHECK(test::ids(document, "a") == ids{3});
}
