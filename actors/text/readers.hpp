// The parts of a tokenizer.json, each checked and made into what encodes. All throw `refusal`, with what is wrong,
// where and what to do; kinds that are not there are refused by their names.
#pragma once

#include <memory>
#include <string>

#include "text/framing.hpp"
#include "text/json_parts.hpp"
#include "text/model.hpp"
#include "text/normaliser.hpp"

namespace shoal::text {

struct read_model {
  std::unique_ptr<const model> encodes;
  id_table tokens;
};
/// The pre-tokeniser and the model. Takes the vocabulary and the merges out of `parts`.
read_model read_model_parts(json_parts& parts, const std::string& where);

/// nullptr: the text stays as it is.
std::unique_ptr<const normaliser> read_normaliser(const json& from, const std::string& where);

framing read_framing(const json& from, const std::string& where);

/// Of a part that says its kind as "type".
const std::string& kind_of(const json& part, const std::string& where);

}  // namespace shoal::text
