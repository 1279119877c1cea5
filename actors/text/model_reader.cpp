#include <algorithm>

#include "text/readers.hpp"

namespace shoal::text {

namespace {

/// Each byte of a token may take a place in a trie.
constexpr std::size_t most_token_bytes = 32 << 20;

id_table table_of(json_parts& parts, const std::string& part) {
  if (!parts.damage.empty()) refuse_damaged(part + ": " + parts.damage);
  if (parts.vocabulary.empty()) refuse_damaged(part + " has no vocabulary, or an empty one");
  std::size_t bytes = 0;
  for (const auto& [token, id] : parts.vocabulary) bytes += token.size();
  if (bytes > most_token_bytes)
    refuse(errc::too_large, part + "'s tokens are more than " + std::to_string(most_token_bytes >> 20) + " MiB");
  id_table table;
  for (const auto& [token, id] : parts.vocabulary) table.add(token, id);
  parts.vocabulary = {};
  auto sorted = table.entries();
  std::sort(sorted.begin(), sorted.end(), [](auto& a, auto& b) { return a.id < b.id; });
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end(), [](auto& a, auto& b) { return a.id == b.id; });
  if (twice != sorted.end())
    refuse_damaged(part + " gives the id " + std::to_string(twice->id) + " to two tokens, \"" +
                   std::string(table.token(twice[0])) + "\" and \"" + std::string(table.token(twice[1])) + "\"");
  return table;
}

std::string text_or_empty(const json& from, const char* key, const std::string& part) {
  return find(from, key) == nullptr ? std::string() : string_at(from, key, part);
}

bool is_set(const json& from, const char* key, const std::string& part) {
  return find(from, key) != nullptr && boolean_at(from, key, part);
}

word_pieces read_word_pieces(const json& from, id_table tokens, const std::string& part) {
  word_pieces read;
  read.tokens = std::move(tokens);
  read.unknown = string_at(from, "unk_token", part);
  read.continuing_prefix = string_at(from, "continuing_subword_prefix", part);
  const auto& most = at(from, "max_input_chars_per_word", part);
  if (!most.is_number_unsigned()) refuse_damaged(part + ".max_input_chars_per_word is not a whole number");
  read.most_characters = most.get<std::size_t>();
  if (!read.tokens.find(read.unknown))
    refuse_damaged(part + "'s unk_token \"" + read.unknown + "\" is not in its vocabulary");
  return read;
}

void refuse_set(bool is_set, const char* key, const std::string& part) {
  if (is_set) refuse(errc::unsupported, part + " has " + key + ": byte-level BPE has none");
}

byte_pairs read_byte_pairs(const json& from, json_parts& parts, id_table tokens, const std::string& part) {
  byte_pairs read;
  if (!parts.has_merges) refuse_damaged(part + " has no merges");
  refuse_set(is_set(from, "byte_fallback", part), "byte_fallback", part);
  refuse_set(!text_or_empty(from, "continuing_subword_prefix", part).empty(), "a continuing_subword_prefix", part);
  refuse_set(!text_or_empty(from, "end_of_word_suffix", part).empty(), "an end_of_word_suffix", part);
  if (const auto* dropout = find(from, "dropout"); dropout != nullptr && *dropout != 0.0)
    refuse(errc::unsupported, part + " has a dropout: ids would be drawn by chance");
  read.ignores_merges = is_set(from, "ignore_merges", part);
  read.fuses_unknown = is_set(from, "fuse_unk", part);
  const auto id_of = [&](const std::string& token, std::size_t merge) {
    const auto id = tokens.find(token);
    if (!id)
      refuse_damaged(part + "'s merge " + std::to_string(merge) + " needs the token \"" + token +
                     "\", which is not in the vocabulary");
    return *id;
  };
  if (const auto* unknown = find(from, "unk_token")) {
    const auto& name = as_string(*unknown, part + ".unk_token");
    const auto id = tokens.find(name);
    if (!id) refuse_damaged(part + "'s unk_token \"" + name + "\" is not in its vocabulary");
    read.unknown = *id;
  }
  read.merges.reserve(parts.merges.size());
  for (const auto& [left, right] : parts.merges) {
    const auto at = read.merges.size();
    read.merges.push_back({id_of(left, at), id_of(right, at), id_of(left + right, at)});
  }
  parts.merges = {};
  read.tokens = std::move(tokens);
  return read;
}

/// Files of before 2021 do not say the model's kind: the library takes what fits.
std::string model_kind(const json& from, bool has_merges, const std::string& part) {
  if (find(from, "type") != nullptr) return string_at(from, "type", part);
  if (has_merges) return "BPE";
  if (find(from, "max_input_chars_per_word") != nullptr) return "WordPiece";
  refuse_damaged(part + " does not say its type");
}

}  // namespace

read_model read_model_parts(json_parts& parts, const std::string& where) {
  const auto part = where + ": the model";
  const auto& from = at(parts.document, "model", where);
  if (!from.is_object()) refuse_damaged(part + " is not an object");
  const auto kind = model_kind(from, parts.has_merges, part);
  if (kind != "WordPiece" && kind != "BPE")
    refuse(errc::unsupported, part + " is of the kind " + kind + ": WordPiece and byte-level BPE are supported");
  const std::string splitter = kind == "BPE" ? "ByteLevel" : "BertPreTokenizer";
  const auto* splits = find(parts.document, "pre_tokenizer");
  if (splits == nullptr)
    refuse(errc::unsupported, where + " has no pre-tokenizer: with " + kind + " " + splitter + " is supported");
  const auto splits_part = where + ": the pre-tokenizer";
  if (kind_of(*splits, splits_part) != splitter)
    refuse(errc::unsupported, splits_part + " is of the kind " + kind_of(*splits, splits_part) + ": with " + kind +
                                  " " + splitter + " is supported");
  read_model read;
  auto tokens = table_of(parts, part);
  if (kind == "WordPiece") {
    auto pieces = read_word_pieces(from, std::move(tokens), part);
    read.encodes = word_piece_model(pieces);
    read.tokens = std::move(pieces.tokens);
  } else {
    auto pairs = read_byte_pairs(from, parts, std::move(tokens), part);
    pairs.adds_prefix_space = boolean_at(*splits, "add_prefix_space", splits_part);
    pairs.splits_words = find(*splits, "use_regex") == nullptr || boolean_at(*splits, "use_regex", splits_part);
    read.encodes = byte_pair_model(pairs);
    read.tokens = std::move(pairs.tokens);
  }
  return read;
}

}  // namespace shoal::text
