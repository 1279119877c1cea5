// `shoal import`: puts an exported model into a model directory, checked and whole, or not at all.
#pragma once

#include <filesystem>
#include <string>

#include "core/error.hpp"

namespace shoal::services {

struct import_request {
  std::filesystem::path file;       ///< the .pt2
  std::filesystem::path models;     ///< the model directory; made if it is not there
  std::filesystem::path tokenizer;  ///< a tokenizer.json to go with it, for a model that is to take text; empty: none
  std::filesystem::path toml;       ///< a model.toml to go with it; empty: none
  std::string name;                 ///< empty: the file's name without its ending
  std::uint64_t version = 0;        ///< 0: the next free one
};

struct import_result {
  std::string name;
  std::uint64_t version = 0;
  std::filesystem::path folder;
};

/// Copies, loads and warms the model up where it will lie, syncs, and only then gives it its name: whoever looks into
/// the directory sees the whole model or none. Acknowledged when it is synced to the disk. Errors: those of loading;
/// invalid_argument (name, version taken); unavailable (the disk); those of reading the tokenizer, unsupported (the
/// model cannot be given its text).
expected<import_result> import_model(const import_request& request);

}  // namespace shoal::services
