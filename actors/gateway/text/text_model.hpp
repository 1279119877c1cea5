// How a model takes text: which of its inputs get token ids, mask and types, how long a text may be, which outputs have
// a row per text. Found out from the model's spec alone, so that `shoal import` can refuse what would never work.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "protocol/messages.hpp"
#include "text/tokenizer.hpp"

namespace shoal::gateway {

struct text_model {
  protocol::model_spec spec;
  std::shared_ptr<const text::tokenizer> reads;  ///< null: it takes token ids only
  std::size_t ids = 0;                           ///< the place of `input_ids` in spec.inputs, [rows, tokens]
  std::optional<std::size_t> mask;               ///< of `attention_mask`
  std::optional<std::size_t> types;              ///< of `token_type_ids`
  std::size_t least_tokens = 0;                  ///< shorter texts are filled up, behind the mask
  std::size_t most_tokens = 0;
  bool pads = false;                 ///< texts of several lengths go into one execution
  std::size_t most_rows = 1;         ///< of one request
  std::vector<std::size_t> outputs;  ///< places in spec.outputs: first dimension the batch, the others fixed

  /// The first output of fp32 [batch, width]; nothing: it gives no embeddings.
  [[nodiscard]] std::optional<std::size_t> embedding() const;
};

/// Errors: unsupported (why such a model cannot be given text, and how to export it).
expected<text_model> text_model_of(const protocol::model_spec& spec, std::shared_ptr<const text::tokenizer> reads);

/// Inputs in the spec's order for these texts, which are at most `most_rows` of at most `most_tokens`, of one length
/// unless the model pads.
std::vector<tensor> inputs_of(const text_model& model, const std::vector<const text::encoding*>& texts);

}  // namespace shoal::gateway
