#include "text/byte_level.hpp"
#include "text/model.hpp"
#include "text/pair_merger.hpp"
#include "text/word_cache.hpp"

namespace shoal::text {

namespace {

class byte_pair final : public model {
 public:
  explicit byte_pair(const byte_pairs& from)
      : merger_(from), adds_prefix_space_(from.adds_prefix_space), splits_words_(from.splits_words) {
    std::vector<token_id> merged;
    for (const auto& each : from.tokens.entries()) {
      const auto bytes = bytes_of_token(from.tokens.token(each));
      if (!bytes || bytes->empty()) continue;
      merged.clear();
      if (!from.ignores_merges) merger_.merge(*bytes, merged);
      if (from.ignores_merges || (merged.size() == 1 && merged.front() == each.id)) words_.add(*bytes, each.id);
    }
  }

  [[nodiscard]] std::string_view kind() const noexcept override { return "BPE"; }

  void encode(std::string_view text, id_sink& to) const override {
    if (adds_prefix_space_ && text.front() != ' ') {
      std::string prefixed;
      prefixed.reserve(text.size() + 1);
      (prefixed += ' ') += text;
      return encode_words(prefixed, to);
    }
    encode_words(text, to);
  }

 private:
  void encode_words(std::string_view text, id_sink& to) const {
    auto& cache = word_cache::of_this_thread();
    std::vector<token_id> merged;
    const char* const end = text.data() + text.size();
    for (const char* at = text.data(); at < end;) {
      const char* const begin = at;
      at = splits_words_ ? word_end(at, end) : end;
      const std::string_view word(begin, at);
      const auto hash = id_table::hash_of(word);
      if (const auto whole = words_.find(word, hash)) {
        to.add(*whole);
        continue;
      }
      auto ids = cache.find(owner_, word, hash);
      if (ids.empty()) {
        merged.clear();
        merger_.merge(word, merged);
        cache.put(owner_, word, hash, merged);
        ids = merged;
      }
      for (const auto id : ids) to.add(id);
    }
  }

  pair_merger merger_;
  id_table words_;  ///< by their bytes, those tokens that a word becomes as a whole
  bool adds_prefix_space_;
  bool splits_words_;
  std::uint64_t owner_ = word_cache::new_owner();
};

}  // namespace

std::unique_ptr<const model> byte_pair_model(const byte_pairs& from) { return std::make_unique<byte_pair>(from); }

}  // namespace shoal::text
