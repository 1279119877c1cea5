// BertNormalizer in one pass: what becomes of each character is in a table, whatever the steps. The one thing that
// depends on neighbours is the canonical order of combining characters (Unicode 15 §3.11), of which few survive the
// stripping of accents.
#include <algorithm>
#include <array>
#include <mutex>
#include <unordered_map>

#include "text/normaliser.hpp"
#include "text/unicode_rules.hpp"
#include "text/utf8.hpp"

namespace shoal::text {

namespace {

/// What is done to a character. Greater values are texts to put in its place.
enum action : std::uint16_t {
  keep = 0,
  drop,          ///< also within a sequence of combining characters, which it does not end
  drop_starter,  ///< a mark of combining class 0: it ends such a sequence
  surround,      ///< with spaces
  split_hangul,
  reorder,  ///< decomposes to something with a combining character that survives
  first_text
};

struct combining {
  std::uint8_t order = 0;  ///< the canonical combining class
  std::string text;
};

// Unicode 15 §3.12.
constexpr char32_t hangul_first = 0xAC00, hangul_count = 11172, leads = 0x1100, vowels = 0x1161, trails = 0x11A7;
constexpr char32_t vowel_count = 21, trail_count = 28;

/// What every normaliser of the same steps uses.
class plan {
 public:
  explicit plan(const bert_normalising& how)
      : how_(how), actions([this](char32_t character) { return action_of(character); }) {
    for (char32_t i = 0; i < 128; ++i) {
      std::string becomes;
      for (const auto each : result_of(i).characters) append_utf8(each, becomes);
      ascii[i] = becomes.empty() ? '\0' : becomes[0];
      ascii_size[i] = static_cast<std::uint8_t>(becomes.size());
    }
  }

 private:
  struct result {
    std::u32string characters;
    bool is_removed = false;     ///< before anything is decomposed
    bool is_reordered = false;   ///< there are characters of other classes than 0 in it
    bool ends_sequence = false;  ///< of a removed mark: its class is 0
  };

  bert_normalising how_;

 public:
  std::vector<std::string> texts;
  std::unordered_map<char32_t, std::vector<combining>> reordered;
  character_pages<std::uint16_t> actions;
  std::array<char, 128> ascii{};
  std::array<std::uint8_t, 128> ascii_size{};

 private:
  result result_of(char32_t character) const {
    result made;
    if (how_.cleans_text && is_removed_by_cleaning(character)) {
      made.is_removed = true;
      return made;
    }
    std::u32string current{how_.cleans_text && is_white_space(character) ? U' ' : character};
    if (how_.parts_chinese && is_chinese(character)) current = U' ' + current + U' ';
    if (how_.strips_accents) {
      std::u32string stripped;
      for (const auto each : current)
        for (const auto part : decomposition(each)) {
          if (is_nonspacing_mark(part)) {
            made.ends_sequence |= combining_class(part) == 0;
            continue;
          }
          made.is_reordered |= combining_class(part) != 0;
          stripped += part;
        }
      current = stripped;
    }
    for (const auto each : current) made.characters += how_.lowers_case ? lower_case(each) : std::u32string{each};
    return made;
  }

  std::uint16_t action_of(char32_t character) {
    if (character >= 0xD800 && character <= 0xDFFF) return keep;
    if (how_.strips_accents && character >= hangul_first && character < hangul_first + hangul_count)
      return split_hangul;
    const auto made = result_of(character);
    if (made.is_removed) return drop;
    if (made.is_reordered) {
      note_reordered(character);
      return reorder;
    }
    if (made.characters.empty()) return made.ends_sequence ? drop_starter : drop;
    if (made.characters == std::u32string{character}) return keep;
    if (made.characters == std::u32string{U' ', character, U' '}) return surround;
    std::string text;
    for (const auto each : made.characters) append_utf8(each, text);
    if (texts.empty() || texts.back() != text) texts.push_back(text);
    return static_cast<std::uint16_t>(first_text + texts.size() - 1);
  }

  void note_reordered(char32_t character) {
    auto& parts = reordered[character];
    for (const auto part : decomposition(character)) {
      if (is_nonspacing_mark(part)) {
        if (combining_class(part) == 0) parts.push_back({});
        continue;
      }
      combining made{combining_class(part), {}};
      for (const auto lower : how_.lowers_case ? lower_case(part) : std::u32string{part}) append_utf8(lower, made.text);
      parts.push_back(std::move(made));
    }
  }
};

/// Kept for as long as the program runs: there are 16 ways at most.
const plan& plan_of(const bert_normalising& how) {
  static std::mutex guard;
  static std::array<std::unique_ptr<const plan>, 16> plans;
  const std::lock_guard lock(guard);
  auto& found = plans[how.cleans_text * 8 + how.parts_chinese * 4 + how.strips_accents * 2 + how.lowers_case * 1];
  if (!found) found = std::make_unique<plan>(how);
  return *found;
}

class bert final : public normaliser {
 public:
  explicit bert(const bert_normalising& how) : plan_(plan_of(how)) {}

  void append(std::string_view text, std::string& to) const override {
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at < end) {
      at = append_ascii(at, end, to);
      while (at < end && static_cast<std::uint8_t>(*at) >= 0x80) at = append_character(at, end, to);
    }
  }

 private:
  /// The ASCII characters at the beginning; returns behind them.
  const char* append_ascii(const char* at, const char* end, std::string& to) const {
    const char* until = at;
    while (until < end && static_cast<std::uint8_t>(*until) < 0x80) ++until;
    const auto before = to.size();
    to.resize(before + static_cast<std::size_t>(until - at));
    char* out = to.data() + before;
    for (; at < until; ++at) {
      const auto character = static_cast<std::uint8_t>(*at);
      *out = plan_.ascii[character];
      out += plan_.ascii_size[character];
    }
    to.resize(static_cast<std::size_t>(out - to.data()));
    return at;
  }

  const char* append_character(const char* at, const char* end, std::string& to) const {
    const char* const begin = at;
    const auto character = next_character(at);
    const auto what = plan_.actions[character];
    const auto size = static_cast<std::size_t>(at - begin);
    switch (what) {
      case keep: to.append(begin, size); break;
      case drop:
      case drop_starter: break;
      case surround: (to += ' ').append(begin, size) += ' '; break;
      case split_hangul: append_hangul(character - hangul_first, to); break;
      case reorder: return append_sequence(begin, end, to);
      default: to += plan_.texts[what - first_text];
    }
    return at;
  }

  static void append_hangul(char32_t syllable, std::string& to) {
    append_utf8(leads + syllable / (vowel_count * trail_count), to);
    append_utf8(vowels + syllable / trail_count % vowel_count, to);
    if (const auto trail = syllable % trail_count; trail != 0) append_utf8(trails + trail, to);
  }

  /// From a character with combining ones on, up to one that ends their sequence.
  const char* append_sequence(const char* at, const char* end, std::string& to) const {
    std::vector<const combining*> waiting;
    const auto flush = [&] {
      std::stable_sort(waiting.begin(), waiting.end(), [](auto* a, auto* b) { return a->order < b->order; });
      for (const auto* each : waiting) to += each->text;
      waiting.clear();
    };
    while (at < end) {
      const char* next = at;
      const auto character = next_character(next);
      const auto what = plan_.actions[character];
      if (what == reorder) {
        for (const auto& each : plan_.reordered.find(character)->second) {
          if (each.order == 0) flush();
          waiting.push_back(&each);
        }
      } else if (what != drop) {
        break;
      }
      at = next;
    }
    flush();
    return at;
  }

  const plan& plan_;
};

}  // namespace

std::unique_ptr<const normaliser> bert_normaliser(const bert_normalising& how) { return std::make_unique<bert>(how); }

}  // namespace shoal::text
