// The directory that says which models there are: <name>/<version>/model.pt2, and beside it, optional, model.toml.
// It is the truth; whatever else knows of models was derived from it. Names and versions that do not fit are reported,
// not guessed at. Used by the worker at start and by `shoal import`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "protocol/actors.hpp"
#include "protocol/model.hpp"

namespace shoal::executor {

/// Every <name>/<version> under `models` with a model.pt2, sorted. Errors: not_found (no such directory).
expected<std::vector<protocol::load>> scan_models(const std::filesystem::path& models);

/// Version `version` of model `name` under `models`; 0: the newest. Errors: invalid_argument (not a model's name),
/// not_found.
expected<protocol::load> find_version(const std::filesystem::path& models, const std::string& name,
                                      std::uint64_t version);

/// Applies <folder>/model.toml to what the archive says: `max_batch`, `[rename]` of inputs and outputs, `[padding]`
/// (`input` and `dimension` name the padded dimension, `values` the fill of each input that has it; 0 if not given).
/// All names in it are those of the exported graph, before `[rename]`. No file: nothing changes. Errors:
/// invalid_argument with file, line and column.
expected<void> apply_model_toml(const std::filesystem::path& folder, protocol::model_spec& spec);

}  // namespace shoal::executor
