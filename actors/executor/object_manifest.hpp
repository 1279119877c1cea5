// Which objects an archive's weights are: model.objects.json beside model.pt2, record -> SHA-256 and size. It spares a
// worker the reading and hashing of every weight before it can ask the cache for them. Derived from the archive, which
// is the truth: the fingerprint in it (archive.hpp) tells whether it belongs to the archive that lies there now, and
// one that does not is made anew. Without LibTorch; no state.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/error.hpp"
#include "executor/archive.hpp"
#include "executor/graph.hpp"
#include "protocol/object_key.hpp"

namespace shoal::executor {

/// Record name -> its object.
using object_manifest = std::map<std::string, protocol::object_key, std::less<>>;

std::filesystem::path manifest_path(const std::filesystem::path& archive);

/// Errors: not_found, corrupt, incompatible (of another archive or format): make one.
expected<object_manifest> read_manifest(const std::filesystem::path& file, const archive& from);

/// Reads and hashes every record that `stored` names. Errors: those of archive::record.
expected<object_manifest> make_manifest(const archive& from, const std::vector<stored_tensor>& stored);

/// Written beside its place and renamed, so that nobody reads half of it. Error: unavailable.
expected<void> write_manifest(const std::filesystem::path& file, const object_manifest& manifest, const archive& from);

}  // namespace shoal::executor
