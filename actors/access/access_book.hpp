// The access list as it is now: its file is looked at again while it is asked for, so that a revocation holds within a
// second. A file that has become wrong or is gone changes nothing, and is complained of: a slip of an editor must not
// take a mesh down. (To let nobody in, revoke the entries.)
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "access/access_list.hpp"
#include "core/clock.hpp"

namespace shoal::access {

class access_book {
 public:
  /// `complain` is told, by whoever asks, why a changed file was not taken. Errors: not_found, invalid_argument (see
  /// access_list::parse).
  using complaint = std::function<void(const std::string& sentence)>;
  static expected<std::shared_ptr<access_book>> open(const std::string& file, complaint complain = {});

  /// Never null; another object if it has changed. Callable from any thread.
  std::shared_ptr<const access_list> current();
  [[nodiscard]] const std::string& file() const noexcept { return file_; }

 private:
  /// What tells one state of a file from another.
  struct stamp {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const stamp&) const = default;
  };
  access_book(std::string file, complaint complain) : file_(std::move(file)), complain_(std::move(complain)) {}
  expected<void> read();

  const std::string file_;
  const complaint complain_;
  std::mutex mutex_;
  std::shared_ptr<const access_list> list_;
  stamp seen_;
  time_point look_again_{};
  std::string complained_of_;
};

}  // namespace shoal::access
