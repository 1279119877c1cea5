#include "services/mesh/names.hpp"

#include "core/name.hpp"
#include "gateway/open_inference.hpp"

namespace shoal::services {

expected<std::pair<std::string, std::uint64_t>> read_model_name(const std::string& text) {
  const auto slash = text.find('/');
  auto name = text.substr(0, slash);
  if (const auto good = check_name("a model's", name); !good)
    return fail(good.error().code, "'" + text + "' is not NAME or NAME/VERSION: " + good.error().message);
  if (slash == std::string::npos) return std::pair(std::move(name), std::uint64_t{0});
  const auto version = gateway::read_version(text.substr(slash + 1));
  if (!version)
    return fail(errc::invalid_argument,
                "'" + text + "' is not NAME or NAME/VERSION: a version is a whole number from 1");
  return std::pair(std::move(name), *version);
}

}  // namespace shoal::services
