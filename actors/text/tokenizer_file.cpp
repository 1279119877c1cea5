#include "text/tokenizer_file.hpp"

#include <algorithm>
#include <fstream>

#include "text/readers.hpp"

namespace shoal::text {

namespace {

constexpr std::size_t most_bytes = 64 << 20;
/// A text of nothing but the beginning of an added token costs as many steps for each byte.
constexpr std::size_t longest_added_token = 1024;

std::vector<added_token> read_added(const json& document, const std::string& where) {
  std::vector<added_token> read;
  const auto* listed = find(document, "added_tokens");
  if (listed == nullptr) return read;
  if (!listed->is_array()) refuse_damaged(where + ": added_tokens is not an array");
  for (const auto& each : *listed) {
    const auto part = where + ": the added token " + std::to_string(read.size());
    added_token token;
    token.content = string_at(each, "content", part);
    if (token.content.size() > longest_added_token)
      refuse(errc::too_large, part + " is longer than " + std::to_string(longest_added_token) + " bytes");
    token.is_single_word = boolean_at(each, "single_word", part);
    token.strips_left = boolean_at(each, "lstrip", part);
    token.strips_right = boolean_at(each, "rstrip", part);
    token.is_normalised = boolean_at(each, "normalized", part);
    (void)as_id(at(each, "id", part), part + ".id");
    read.push_back(std::move(token));
  }
  return read;
}

std::int64_t highest(const id_table& table) {
  std::int64_t highest = -1;
  for (const auto& each : table.entries()) highest = std::max<std::int64_t>(highest, each.id);
  return highest;
}

std::int64_t highest(const framing& frame) {
  std::int64_t highest = -1;
  for (const auto* list : {&frame.before, &frame.after})
    for (const auto& each : *list) highest = std::max(highest, each.id);
  return highest;
}

std::int64_t pad_of(const json& document, const id_table& added, const id_table& tokens, const std::string& where) {
  if (const auto* padding = find(document, "padding"))
    return as_id(at(*padding, "pad_id", where + ": the padding"), where + ": padding.pad_id");
  for (const auto* name : {"[PAD]", "<pad>"})
    for (const auto* table : {&added, &tokens})
      if (const auto id = table->find(name)) return *id;
  return 0;
}

tokenizer_file read_parts(std::string_view text, const std::string& where) {
  if (text.size() > most_bytes)
    refuse(errc::too_large, where + " is larger than " + std::to_string(most_bytes >> 20) + " MiB");
  auto parts = parse_parts(text, where);
  const auto& document = parts.document;
  if (const auto* version = find(document, "version"); version != nullptr && *version != "1.0")
    refuse(errc::unsupported, where + " is not of version 1.0");
  const auto part = [&](const char* key) -> const json& {
    static const json none;
    const auto* found = find(document, key);
    return found == nullptr ? none : *found;
  };
  tokenizer_file read;
  auto model = read_model_parts(parts, where);
  read.normalises = read_normaliser(part("normalizer"), where);
  read.frame = read_framing(part("post_processor"), where);
  read.added = std::make_unique<added_tokens>(read_added(document, where), model.tokens, read.normalises.get());
  read.vocabulary = 1 + std::max({highest(model.tokens), highest(read.added->ids), highest(read.frame)});
  read.pad = pad_of(document, read.added->ids, model.tokens, where);
  read.encodes = std::move(model.encodes);
  return read;
}

}  // namespace

expected<tokenizer_file> parse_tokenizer_file(std::string_view text, const std::string& where) {
  try {
    return read_parts(text, where);
  } catch (const refusal& wrong) {
    return tl::unexpected(wrong.reason);
  } catch (const std::exception& defect) {
    return fail(errc::internal, where + " cannot be read: " + defect.what());
  }
}

expected<std::string> read_tokenizer_file(const std::filesystem::path& file) {
  std::error_code failed;
  const auto size = std::filesystem::file_size(file, failed);
  if (failed) {
    if (!std::filesystem::exists(file, failed)) return fail(errc::not_found, "there is no file " + file.string());
    return fail(errc::unavailable, "cannot read " + file.string() + ": it is no regular file that can be read");
  }
  if (size > most_bytes)
    return fail(errc::too_large, file.string() + " is larger than " + std::to_string(most_bytes >> 20) + " MiB");
  std::string text(size, '\0');
  std::ifstream stream(file, std::ios::binary);
  if (!stream.read(text.data(), static_cast<std::streamsize>(size)))
    return fail(errc::unavailable, "cannot read " + file.string() + ": check its permissions");
  return text;
}

}  // namespace shoal::text
