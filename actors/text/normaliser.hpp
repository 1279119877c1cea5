// What a tokenizer.json's `normalizer` does to text before it is split. Owned by the tokenizer; immutable, any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::text {

class normaliser {
 public:
  virtual ~normaliser() = default;
  /// Appends `text`, normalised, to `to`. Both well-formed UTF-8.
  virtual void append(std::string_view text, std::string& to) const = 0;
};

struct bert_normalising {
  bool cleans_text = true;
  bool parts_chinese = true;
  bool strips_accents = true;
  bool lowers_case = true;
};
std::unique_ptr<const normaliser> bert_normaliser(const bert_normalising& how);

/// Unicode's normalisation forms (UAX #15), of Unicode 9.0.
enum class normal_form { nfc, nfd, nfkc, nfkd };
std::unique_ptr<const normaliser> normal_form_normaliser(normal_form form);

/// One after the other.
std::unique_ptr<const normaliser> normaliser_sequence(std::vector<std::unique_ptr<const normaliser>> steps);

}  // namespace shoal::text
