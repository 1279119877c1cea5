// An archive's weight records as the host's cache has them: mapped objects in place of the archive's own pages. Without
// LibTorch. Made and used while one model loads; the buffers it hands out keep their leases.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/buffer.hpp"
#include "executor/object_manifest.hpp"
#include "executor/object_source.hpp"

namespace shoal::executor {

class cached_records {
 public:
  cached_records() = default;
  cached_records(cached_records&&) = default;
  cached_records& operator=(cached_records&&) = default;

  /// Asks `source` for every record of `stored`. `path` is the archive's; its manifest is read, or made and, where the
  /// folder can be written, left there. Nothing here fails a load: what cannot be had is read from the archive.
  static cached_records acquire(object_source& source, const std::filesystem::path& path,
                                const std::shared_ptr<const archive>& from, const std::vector<stored_tensor>& stored);

  /// The record's bytes, or null.
  [[nodiscard]] const buffer* find(std::string_view record) const;
  /// The record's object, or null.
  [[nodiscard]] const protocol::object_key* key_of(std::string_view record) const;

  /// Gives what the cache did not have, from the archive, to it.
  void publish(object_source& source, const std::shared_ptr<const archive>& from) const;

 private:
  object_manifest manifest_;
  std::unordered_map<std::string_view, buffer> found_;  ///< names lie in manifest_
  std::vector<std::string_view> wanted_;
};

}  // namespace shoal::executor
