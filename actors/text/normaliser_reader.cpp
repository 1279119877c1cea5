#include <array>

#include "text/readers.hpp"

namespace shoal::text {

namespace {

std::unique_ptr<const normaliser> read_bert(const json& from, const std::string& part) {
  bert_normalising how;
  how.cleans_text = boolean_at(from, "clean_text", part);
  how.parts_chinese = boolean_at(from, "handle_chinese_chars", part);
  how.lowers_case = boolean_at(from, "lowercase", part);
  how.strips_accents =
      find(from, "strip_accents") != nullptr ? boolean_at(from, "strip_accents", part) : how.lowers_case;
  return bert_normaliser(how);
}

}  // namespace

const std::string& kind_of(const json& part, const std::string& where) { return string_at(part, "type", where); }

std::unique_ptr<const normaliser> read_normaliser(const json& from, const std::string& where) {
  if (from.is_null()) return nullptr;
  const auto part = where + ": the normalizer";
  const auto& kind = kind_of(from, part);
  if (kind == "BertNormalizer") return read_bert(from, part);
  static constexpr std::array<std::pair<std::string_view, normal_form>, 4> forms{
      {{"NFC", normal_form::nfc}, {"NFD", normal_form::nfd}, {"NFKC", normal_form::nfkc}, {"NFKD", normal_form::nfkd}}};
  for (const auto& [name, form] : forms)
    if (kind == name) return normal_form_normaliser(form);
  if (kind != "Sequence")
    refuse(errc::unsupported,
           part + " is of the kind " + kind + ": BertNormalizer, NFC, NFD, NFKC, NFKD and Sequence are supported");
  const auto& listed = at(from, "normalizers", part);
  if (!listed.is_array()) refuse_damaged(part + ".normalizers is not an array");
  std::vector<std::unique_ptr<const normaliser>> steps;
  for (const auto& each : listed)
    if (auto step = read_normaliser(each, where)) steps.push_back(std::move(step));
  if (steps.empty()) return nullptr;
  return steps.size() == 1 ? std::move(steps.front()) : normaliser_sequence(std::move(steps));
}

}  // namespace shoal::text
