#include "text/framing.hpp"

#include "text/readers.hpp"

namespace shoal::text {

namespace {

framing::token named_token(const json& pair, const std::string& where) {
  if (!pair.is_array() || pair.size() != 2) refuse_damaged(where + " is not a pair of a token and its id");
  return {as_id(pair[1], where), 0};
}

/// [CLS] text [SEP], in the words of BertProcessing and RobertaProcessing.
framing around(const json& from, const std::string& where) {
  framing made;
  made.before.push_back(named_token(at(from, "cls", where), where + ".cls"));
  made.after.push_back(named_token(at(from, "sep", where), where + ".sep"));
  return made;
}

class template_reader {
 public:
  template_reader(const json& from, const std::string& where)
      : tokens_(at(from, "special_tokens", where)), where_(where + ".single") {
    const auto& pieces = at(from, "single", where);
    if (!pieces.is_array()) refuse_damaged(where_ + " is not an array");
    for (const auto& piece : pieces) read_piece(piece);
    if (!has_text_) refuse(errc::unsupported, where_ + " does not have the text in it: Shoal needs it once");
  }

  framing read() { return std::move(made_); }

 private:
  void read_piece(const json& piece) {
    if (!piece.is_object() || piece.size() != 1) refuse_damaged(where_ + " has a piece that is no object of one key");
    const auto& content = *piece.begin();
    const auto type = as_id(at(content, "type_id", where_), where_ + ".type_id");
    const auto& id = string_at(content, "id", where_);
    if (piece.begin().key() == "Sequence") {
      if (id != "A") refuse(errc::unsupported, where_ + " has the sequence " + id + ": there is one text only");
      if (has_text_) refuse(errc::unsupported, where_ + " has the text in it twice: Shoal needs it once");
      has_text_ = true;
      made_.type = type;
    } else if (piece.begin().key() == "SpecialToken") {
      const auto& ids =
          at(at(tokens_, id.c_str(), "the post-processor's special_tokens"), "ids", "the special token " + id);
      if (!ids.is_array()) refuse_damaged("the ids of the special token " + id + " are not an array");
      for (const auto& each : ids)
        (has_text_ ? made_.after : made_.before).push_back({as_id(each, "an id of the special token " + id), type});
    } else {
      refuse_damaged(where_ + " has a piece of the kind " + piece.begin().key());
    }
  }

  const json& tokens_;
  const std::string where_;
  bool has_text_ = false;
  framing made_;
};

}  // namespace

framing read_framing(const json& from, const std::string& where) {
  if (from.is_null()) return {};
  const auto part = where + ": the post-processor";
  const auto& kind = kind_of(from, part);
  if (kind == "TemplateProcessing") return template_reader(from, part).read();
  if (kind == "BertProcessing" || kind == "RobertaProcessing") return around(from, part);
  if (kind == "ByteLevel") return {};  // it moves offsets only
  refuse(errc::unsupported, part + " is of the kind " + kind +
                                ": TemplateProcessing, BertProcessing, RobertaProcessing and ByteLevel are supported");
}

}  // namespace shoal::text
