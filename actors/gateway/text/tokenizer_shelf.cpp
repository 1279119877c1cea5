#include "gateway/text/tokenizer_shelf.hpp"

#include <algorithm>

namespace shoal::gateway {

namespace fs = std::filesystem;

expected<std::shared_ptr<const text_model>> tokenizer_shelf::find(const protocol::model_spec& spec) {
  const auto file = models_ / spec.name / std::to_string(spec.version) / "tokenizer.json";
  std::error_code missing;
  const auto written = models_.empty() ? fs::file_time_type{} : fs::last_write_time(file, missing);
  const auto [place, is_new] = entries_.try_emplace({spec.name, spec.version});
  auto& known = place->second;
  if (is_new || known.written != written) {
    known = {written, nullptr, nullptr};
    if (!models_.empty() && !missing) known.reads = text::tokenizer::read(file);
  }
  if (!known.reads) return tl::unexpected(known.reads.error());
  if (known.model && known.model->spec == spec) return known.model;
  auto model = text_model_of(spec, *known.reads);
  if (!model) return tl::unexpected(model.error());
  known.model = std::make_shared<const text_model>(*std::move(model));
  return known.model;
}

void tokenizer_shelf::keep(const protocol::catalogue& models) {
  std::erase_if(entries_, [&](const auto& each) {
    return std::none_of(models.models.begin(), models.models.end(), [&](const auto& spec) {
      return spec.name == each.first.first && spec.version == each.first.second;
    });
  });
}

}  // namespace shoal::gateway
