// Archives made wrong on purpose: the records of a good one, changed and written again with checksums that fit.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

namespace shoal::test {

using records = std::map<std::string, std::string>;  ///< name without the root folder -> bytes

/// The records of an archive that PyTorch wrote; trusts it.
records read_records(const std::filesystem::path& archive);

/// The zip file PyTorch would write of them, weights aligned to 64 bytes.
std::string zip(const records& contents);

std::string read_file(const std::filesystem::path& file);

/// A file in a folder of its own that goes with the object.
class scratch_file {
 public:
  explicit scratch_file(const std::string& bytes);
  ~scratch_file();
  scratch_file(const scratch_file&) = delete;
  scratch_file& operator=(const scratch_file&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path folder_;
  std::filesystem::path path_;
};

/// The archive with one of its JSON records changed by `change`.
std::string with_json(const std::filesystem::path& archive, const std::string& record,
                      const std::function<void(nlohmann::json&)>& change);

}  // namespace shoal::test
