#include "services/mesh/describe.hpp"

namespace shoal::services {

std::string text_of(const protocol::tensor_spec& spec) {
  std::string text;
  for (const auto& dim : spec.dims)
    text += (text.empty() ? "" : ", ") + (dim.is_fixed()       ? std::to_string(dim.min)
                                          : dim.symbol.empty() ? std::string("?")
                                                               : dim.symbol);
  return spec.name + " " + std::string(name_of(spec.type)) + "[" + text + "]";
}

std::string_view text_of(protocol::model_state state) {
  switch (state) {
    case protocol::model_state::loading: return "loading";
    case protocol::model_state::ready: return "ready";
    case protocol::model_state::failed: return "failed";
  }
  return "unknown";
}

}  // namespace shoal::services
