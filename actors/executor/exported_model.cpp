#include "executor/exported_model.hpp"

#include <utility>

#include "executor/apply_passes.hpp"
#include "executor/graph_reader.hpp"

namespace shoal::executor {

expected<exported_model> exported_model::open(const std::filesystem::path& path) {
  auto opened = archive::open(path);
  if (!opened) return tl::unexpected(opened.error());
  auto read = read_graph(**opened);
  if (!read) return tl::unexpected(read.error());
  if (const auto refused = check_all_allowed(*read); !refused.empty()) return tl::unexpected(refused.front().reason);
  auto checked = signature::read(*read);
  if (!checked) return tl::unexpected(checked.error());
  return exported_model{*std::move(opened), *std::move(read), *std::move(checked)};
}

}  // namespace shoal::executor
