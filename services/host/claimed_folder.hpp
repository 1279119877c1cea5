// A folder of an instance's own among several that share a volume: replicas of a service have the same configuration.
#pragma once

#include <filesystem>
#include <string>

#include "core/error.hpp"

namespace shoal::services {

/// Held as long as this lives; another process that ends, however it ends, lets its folder go.
class claimed_folder {
 public:
  claimed_folder() = default;
  claimed_folder(std::filesystem::path path, int lock) : path(std::move(path)), lock_(lock) {}
  claimed_folder(claimed_folder&& other) noexcept;
  claimed_folder& operator=(claimed_folder&& other) noexcept;
  ~claimed_folder();

  std::filesystem::path path;

 private:
  int lock_ = -1;
};

/// `wanted` itself, unless it ends in "/*": then the first of its folder's 1, 2, ... that no living process has, made
/// if it is not there. So a replica that is started again finds what one of them kept. Errors: unavailable (the disk;
/// all are taken).
expected<claimed_folder> claim_folder(const std::string& wanted);

}  // namespace shoal::services
