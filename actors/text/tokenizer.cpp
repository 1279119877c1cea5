#include "text/tokenizer.hpp"

#include "text/tokenizer_file.hpp"
#include "text/utf8.hpp"

namespace shoal::text {

namespace {

/// Places in a text, however it is normalised, fit 32 bits.
constexpr std::size_t longest_text = 64 << 20;

class read_tokenizer final : public tokenizer {
 public:
  explicit read_tokenizer(tokenizer_file file) : file_(std::move(file)) {}

  [[nodiscard]] expected<encoding> encode(std::string_view utf8, std::size_t most) const override {
    const auto& frame = file_.frame;
    if (most < frame.size())
      return fail(errc::invalid_argument, "the text may have " + std::to_string(most) + " ids, but " +
                                              std::to_string(frame.size()) +
                                              " special tokens go around it: allow at least as many");
    if (utf8.size() > longest_text)
      return fail(errc::invalid_argument,
                  "the text is longer than " + std::to_string(longest_text >> 20) + " MiB: send it in parts");
    if (const auto wrong = first_malformed(utf8); wrong < utf8.size())
      return fail(errc::invalid_argument,
                  "the text is not UTF-8 at byte " + std::to_string(wrong) + ": send it in UTF-8");
    try {
      return encode_text(utf8, most - frame.size());
    } catch (const std::exception& defect) {
      return fail(errc::internal, std::string("the text cannot be encoded: ") + defect.what());
    }
  }

  [[nodiscard]] std::int64_t vocabulary() const noexcept override { return file_.vocabulary; }
  [[nodiscard]] std::int64_t pad_id() const noexcept override { return file_.pad; }
  [[nodiscard]] std::string_view kind() const noexcept override { return file_.encodes->kind(); }

 private:
  encoding encode_text(std::string_view text, std::size_t most) const {
    const auto& frame = file_.frame;
    encoding made;
    made.ids.reserve(frame.size() + std::min(most, text.size() / 3 + 8));
    for (const auto& each : frame.before) made.ids.push_back(each.id);
    id_sink own(made.ids, most);
    std::string scratch;
    file_.added->raw.split(
        text, [&](std::string_view piece) { encode_piece(piece, scratch, own); }, [&](token_id id) { own.add(id); });
    for (const auto& each : frame.after) made.ids.push_back(each.id);
    made.whole = own.count() + frame.size();
    made.types.assign(made.ids.size(), frame.type);
    for (std::size_t i = 0; i < frame.before.size(); ++i) made.types[i] = frame.before[i].type;
    const auto end = made.types.size() - frame.after.size();
    for (std::size_t i = 0; i < frame.after.size(); ++i) made.types[end + i] = frame.after[i].type;
    return made;
  }

  /// What is between the added tokens that are looked for in the text as it came.
  void encode_piece(std::string_view piece, std::string& scratch, id_sink& to) const {
    if (file_.normalises != nullptr) {
      scratch.clear();
      file_.normalises->append(piece, scratch);
      piece = scratch;
    }
    file_.added->normalised.split(
        piece, [&](std::string_view text) { file_.encodes->encode(text, to); }, [&](token_id id) { to.add(id); });
  }

  tokenizer_file file_;
};

}  // namespace

expected<std::shared_ptr<const tokenizer>> tokenizer::read(const std::filesystem::path& file) {
  const auto text = read_tokenizer_file(file);
  if (!text) return tl::unexpected(text.error());
  return parse(*text, file.string());
}

expected<std::shared_ptr<const tokenizer>> tokenizer::parse(std::string_view json, const std::string& where) {
  auto file = parse_tokenizer_file(json, where);
  if (!file) return tl::unexpected(file.error());
  return std::make_shared<const read_tokenizer>(*std::move(file));
}

}  // namespace shoal::text
