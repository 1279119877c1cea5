#include "fuzz/tokenizer_reader.hpp"

#include <algorithm>
#include <stdexcept>

#include "text/tokenizer.hpp"

namespace shoal::test {

namespace {

constexpr auto word_piece = R"({"added_tokens":[
  {"id":8,"content":"<é>","single_word":false,"lstrip":true,"rstrip":true,"normalized":true},
  {"id":9,"content":"[SEP]","single_word":true,"lstrip":false,"rstrip":false,"normalized":false}],
"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":true,"lowercase":true},
"pre_tokenizer":{"type":"BertPreTokenizer"},
"post_processor":{"type":"BertProcessing","cls":["[CLS]",1],"sep":["[UNK]",0]},
"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":9,
"vocab":{"[UNK]":0,"[CLS]":1,"a":2,"##a":3,"aab":4,"##ab":5,"中":6,"[":7}}})";

constexpr auto byte_pair = R"({"added_tokens":[
  {"id":9,"content":"<x>","single_word":false,"lstrip":true,"rstrip":true,"normalized":false}],
"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKD"},{"type":"NFC"}]},
"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":true,"use_regex":true},
"model":{"type":"BPE","unk_token":"?","fuse_unk":false,
"vocab":{"?":0,"a":1,"b":2,"Ġ":3,"Ġa":4,"ab":5,"aa":6,"aaab":7,"aab":8},
"merges":["Ġ a","a b",["a","a"],["aa","ab"],["a","ab"]]}})";

std::shared_ptr<const text::tokenizer> built_in(const char* json) {
  auto parsed = text::tokenizer::parse(json, "a tokenizer of the test");
  if (!parsed) throw std::logic_error(parsed.error().message);
  return *parsed;
}

void check(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

expected<std::size_t> encode(const text::tokenizer& tokenizer, std::string_view text) {
  const auto encoded = tokenizer.encode(text);
  if (!encoded) return tl::unexpected(encoded.error());
  check(encoded->whole == encoded->ids.size() && encoded->types.size() == encoded->ids.size(), "sizes differ");
  for (const auto id : encoded->ids)
    check(id >= 0 && id < tokenizer.vocabulary(), "an id is not below the vocabulary's size");
  // Every other limit that allows the special tokens, up to a few ids.
  for (std::size_t most = 0; most < std::min<std::size_t>(encoded->whole, 6); ++most) {
    const auto cut = tokenizer.encode(text, most);
    check(!cut || (cut->whole == encoded->whole && cut->ids.size() == most), "a limit changes the whole");
  }
  return encoded->ids.size();
}

}  // namespace

expected<std::size_t> read_tokenizer_input(std::string_view input) {
  const auto rest = input.substr(std::min<std::size_t>(1, input.size()));
  if (input.starts_with('w')) {
    static const auto tokenizer = built_in(word_piece);
    return encode(*tokenizer, rest);
  }
  if (input.starts_with('b')) {
    static const auto tokenizer = built_in(byte_pair);
    return encode(*tokenizer, rest);
  }
  if (!input.starts_with('j')) return fail(errc::invalid_argument, "the input begins with none of j, w, b");
  const auto parsed = text::tokenizer::parse(rest, "the input");
  if (!parsed) return tl::unexpected(parsed.error());
  check((*parsed)->pad_id() >= 0, "the padding's id is negative");
  std::size_t ids = 0;
  for (const auto* text :
       {"", " ", "a", "aab [SEP] <x> 中文 Ça\xCC\x81!", "\xEF\xBF\xBF\xF0\x9D\x85\xA5 '\xC2\xA0's 12"}) {
    const auto encoded = encode(**parsed, text);
    if (!encoded) return tl::unexpected(encoded.error());
    ids += *encoded;
  }
  return ids;
}

}  // namespace shoal::test
