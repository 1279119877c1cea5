#include "gateway/text/text_model.hpp"

#include <algorithm>
#include <cstring>

#include "protocol/join.hpp"

namespace shoal::gateway {

using protocol::model_spec;
using protocol::tensor_spec;

namespace {

tl::unexpected<error> cannot(const model_spec& spec, const std::string& why) {
  return fail(errc::unsupported, "model '" + spec.name + "' cannot be given text: " + why);
}

std::optional<std::size_t> place_of(const model_spec& spec, std::string_view name) {
  for (std::size_t i = 0; i < spec.inputs.size(); ++i)
    if (spec.inputs[i].name == name) return i;
  return std::nullopt;
}

bool is_of_rows(const model_spec& spec, const tensor_spec& output) {
  if (output.dims.empty()) return false;
  const auto& rows = output.dims.front();
  const bool is_batch = spec.batch_symbol.empty() ? rows.is_fixed() && rows.min == 1 : rows.symbol == spec.batch_symbol;
  return is_batch && size_of(output.type) != 0 &&
         std::all_of(output.dims.begin() + 1, output.dims.end(), [](const auto& dim) { return dim.is_fixed(); });
}

}  // namespace

std::optional<std::size_t> text_model::embedding() const {
  for (const auto place : outputs)
    if (spec.outputs[place].type == dtype::fp32 && spec.outputs[place].dims.size() == 2) return place;
  return std::nullopt;
}

expected<text_model> text_model_of(const model_spec& spec, std::shared_ptr<const text::tokenizer> reads) {
  text_model model;
  model.spec = spec;
  model.reads = std::move(reads);
  const auto ids = spec.inputs.size() == 1 ? std::optional<std::size_t>(0) : place_of(spec, "input_ids");
  if (!ids) return cannot(spec, "none of its inputs is named input_ids (model.toml can rename them)");
  model.ids = *ids;
  model.mask = place_of(spec, "attention_mask");
  model.types = place_of(spec, "token_type_ids");
  if (model.mask == ids) model.mask.reset();  // its only input, whatever it is named
  if (model.types == ids) model.types.reset();
  const auto& taken = spec.inputs[*ids];
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const auto& input = spec.inputs[i];
    if (i != *ids && i != model.mask && i != model.types)
      return cannot(spec, "it has the input '" + input.name +
                              "', which text does not give (only input_ids, attention_mask and token_type_ids)");
    if (input.type != dtype::int64 || input.dims != taken.dims || input.dims.size() != 2)
      return cannot(spec, "its input '" + input.name + "' must be INT64 [rows, tokens], as all of these are");
  }
  const auto& rows = taken.dims[0];
  const auto& tokens = taken.dims[1];
  if (spec.batch_symbol.empty() && rows.min != 1) return cannot(spec, "it takes no single row");
  model.most_rows =
      spec.batch_symbol.empty() ? 1 : static_cast<std::size_t>(std::max<std::int64_t>(1, protocol::row_limit(spec)));
  model.least_tokens = static_cast<std::size_t>(std::max<std::int64_t>(tokens.min, 0));
  model.most_tokens = static_cast<std::size_t>(std::max<std::int64_t>(tokens.max, 0));
  model.pads = !spec.pad_symbol.empty() && tokens.symbol == spec.pad_symbol;
  for (std::size_t o = 0; o < spec.outputs.size(); ++o)
    if (is_of_rows(spec, spec.outputs[o])) model.outputs.push_back(o);
  if (model.outputs.empty())
    return cannot(spec, "none of its outputs has one row of fixed size per text: export it with its pooling");
  return model;
}

std::vector<tensor> inputs_of(const text_model& model, const std::vector<const text::encoding*>& texts) {
  auto length = model.least_tokens;
  for (const auto* each : texts) length = std::max(length, each->ids.size());
  const shape dims{static_cast<std::int64_t>(texts.size()), static_cast<std::int64_t>(length)};
  std::vector<tensor> inputs;
  for (std::size_t i = 0; i < model.spec.inputs.size(); ++i) {
    const auto& spec = model.spec.inputs[i];
    const bool is_ids = i == model.ids;
    const bool is_mask = i == model.mask;
    const auto known_pad = model.reads && is_ids ? model.reads->pad_id() : 0;
    const auto fill = model.pads ? static_cast<std::int64_t>(spec.pad_value) : known_pad;
    tensor made{spec.name, spec.type, dims, {}};
    made.data = buffer::make(texts.size() * length * sizeof(std::int64_t), [&](std::byte* to) {
      auto* at = reinterpret_cast<std::int64_t*>(to);
      for (const auto* each : texts) {
        const auto count = each->ids.size();
        if (is_mask)
          std::fill_n(at, count, std::int64_t{1});
        else if (is_ids)
          std::copy_n(each->ids.begin(), count, at);
        else
          std::copy_n(each->types.begin(), count, at);
        std::fill_n(at + count, length - count, fill);
        at += length;
      }
    });
    inputs.push_back(std::move(made));
  }
  return inputs;
}

}  // namespace shoal::gateway
