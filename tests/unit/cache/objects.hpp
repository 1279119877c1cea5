// Objects for tests of the cache: their bytes and names, and a place that is too small for them.
#pragma once

#include <string>

#include <doctest/doctest.h>
#include <sys/mount.h>

#include "protocol/object_file.hpp"
#include "unit/support/object_bytes.hpp"
#include "unit/support/temporary_folder.hpp"

namespace shoal::test {

inline protocol::object_key name_of(const buffer& bytes) { return protocol::key_of(bytes.bytes()); }

/// A tmpfs of its own size; `mounted()` is false where mounting is not allowed (the test says so and skips).
class small_tmpfs {
 public:
  explicit small_tmpfs(const std::string& size) {
    const auto options = "size=" + size;
    mounted_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, options.c_str()) == 0;
    if (!mounted_) MESSAGE("skipped: this process may not mount a tmpfs");
  }
  ~small_tmpfs() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  small_tmpfs(const small_tmpfs&) = delete;
  small_tmpfs& operator=(const small_tmpfs&) = delete;
  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }
  void make_read_only() { REQUIRE(::mount(nullptr, path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0); }

 private:
  temporary_folder folder_;
  bool mounted_ = false;
};

}  // namespace shoal::test
