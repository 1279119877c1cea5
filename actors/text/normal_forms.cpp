#include <algorithm>
#include <stdexcept>
#include <utility>

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>

#include "text/normaliser.hpp"
#include "text/unicode_rules.hpp"
#include "text/utf8.hpp"

namespace shoal::text {

namespace {

/// The library's tables are of Unicode 9.0: what came later is left as it is, and nothing combines across it.
const icu::UnicodeSet& known_characters() {
  static const icu::UnicodeSet known = [] {
    auto failed = U_ZERO_ERROR;
    icu::UnicodeSet made(icu::UnicodeString::fromUTF8("[:age=9.0:]"), failed);
    if (U_FAILURE(failed) != 0) throw std::runtime_error("ICU has no data of the ages of characters");
    made.freeze();
    return made;
  }();
  return known;
}

/// ICU sorts combining characters by insertion: long sequences of them are put in order before.
constexpr std::size_t long_sequence = 64;

bool begins_combining(char32_t character) {
  return character >= 0x300 &&
         u_getIntPropertyValue(static_cast<UChar32>(character), UCHAR_LEAD_CANONICAL_COMBINING_CLASS) != 0;
}

bool has_long_sequence(std::string_view text) {
  std::size_t size = 0;
  for (const char* at = text.data(); at < text.data() + text.size();) {
    size = begins_combining(next_character(at)) ? size + 1 : 0;
    if (size > long_sequence) return true;
  }
  return false;
}

/// Canonically equivalent text, in which sequences of combining characters are decomposed and in canonical order.
std::string in_order(std::string_view text) {
  std::string made;
  std::vector<std::pair<std::uint8_t, char32_t>> waiting;
  const auto flush = [&] {
    std::stable_sort(waiting.begin(), waiting.end(), [](auto& a, auto& b) { return a.first < b.first; });
    for (const auto& each : waiting) append_utf8(each.second, made);
    waiting.clear();
  };
  for (const char* at = text.data(); at < text.data() + text.size();) {
    const auto character = next_character(at);
    if (!begins_combining(character)) {
      flush();
      append_utf8(character, made);
      continue;
    }
    for (const auto part : decomposition(character)) {
      const auto order = combining_class(part);
      if (order == 0) flush();
      waiting.emplace_back(order, part);
    }
  }
  flush();
  return made;
}

class form_normaliser final : public normaliser {
 public:
  explicit form_normaliser(const icu::Normalizer2& form) : form_(form, known_characters()) {}

  void append(std::string_view text, std::string& to) const override {
    if (has_long_sequence(text)) return append_ordered(in_order(text), to);
    append_ordered(text, to);
  }

 private:
  void append_ordered(std::string_view text, std::string& to) const {
    auto failed = U_ZERO_ERROR;
    icu::StringByteSink<std::string> sink(&to);
    form_.normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())), sink, nullptr,
                        failed);
    if (U_FAILURE(failed) != 0) throw std::runtime_error(u_errorName(failed));
  }

  icu::FilteredNormalizer2 form_;
};

const icu::Normalizer2& icu_form(normal_form form) {
  auto failed = U_ZERO_ERROR;
  const icu::Normalizer2* found = form == normal_form::nfc    ? icu::Normalizer2::getNFCInstance(failed)
                                  : form == normal_form::nfd  ? icu::Normalizer2::getNFDInstance(failed)
                                  : form == normal_form::nfkc ? icu::Normalizer2::getNFKCInstance(failed)
                                                              : icu::Normalizer2::getNFKDInstance(failed);
  if (U_FAILURE(failed) != 0) throw std::runtime_error("ICU has no data of normalisation forms");
  return *found;
}

class sequence final : public normaliser {
 public:
  explicit sequence(std::vector<std::unique_ptr<const normaliser>> steps) : steps_(std::move(steps)) {}

  void append(std::string_view text, std::string& to) const override {
    std::string current(text);
    for (const auto& step : steps_) {
      std::string next;
      step->append(current, next);
      current.swap(next);
    }
    to += current;
  }

 private:
  std::vector<std::unique_ptr<const normaliser>> steps_;
};

}  // namespace

std::unique_ptr<const normaliser> normal_form_normaliser(normal_form form) {
  return std::make_unique<form_normaliser>(icu_form(form));
}

std::unique_ptr<const normaliser> normaliser_sequence(std::vector<std::unique_ptr<const normaliser>> steps) {
  return std::make_unique<sequence>(std::move(steps));
}

}  // namespace shoal::text
