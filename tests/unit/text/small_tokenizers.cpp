#include "unit/text/small_tokenizers.hpp"

#include <stdexcept>

namespace shoal::test {

using json = nlohmann::json;

json small_bert() {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", json::array()},
          {"normalizer",
           {{"type", "BertNormalizer"},
            {"clean_text", true},
            {"handle_chinese_chars", true},
            {"strip_accents", nullptr},
            {"lowercase", true}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor", {{"type", "BertProcessing"}, {"sep", {"[SEP]", 2}}, {"cls", {"[CLS]", 1}}}},
          {"decoder", nullptr},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab",
             {{"[UNK]", 0},
              {"[CLS]", 1},
              {"[SEP]", 2},
              {"a", 3},
              {"b", 4},
              {"##b", 5},
              {"ab", 6},
              {"##c", 7},
              {",", 8}}}}}};
}

json small_gpt2() {
  return {{"version", "1.0"},
          {"added_tokens", json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
          {"post_processor", nullptr},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"vocab", {{"a", 0}, {"b", 1}, {"c", 2}, {"Ġ", 3}, {"ab", 4}, {"abc", 5}, {"Ġa", 6}, {"Ġabc", 7}}},
            {"merges", {"a b", "ab c", "Ġ abc", "Ġ a"}}}}};
}

json added(int id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", false}};
}

std::shared_ptr<const text::tokenizer> read(const json& document) {
  auto parsed = text::tokenizer::parse(document.dump(), "tokenizer.json");
  if (!parsed) throw std::runtime_error(parsed.error().message);
  return *parsed;
}

error refused(const std::string& document) {
  const auto parsed = text::tokenizer::parse(document, "tokenizer.json");
  if (parsed) throw std::runtime_error("this was read: " + document);
  return parsed.error();
}

error refused(const json& document) { return refused(document.dump()); }

std::vector<std::int64_t> ids(const json& document, std::string_view text) {
  const auto encoded = read(document)->encode(text);
  if (!encoded) throw std::runtime_error(encoded.error().message);
  return encoded->ids;
}

}  // namespace shoal::test
