// Objects for tests of the cache: bytes that follow from a number, and their names.
#pragma once

#include <cstddef>
#include <fstream>
#include <ios>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/mount.h>

#include "core/buffer.hpp"
#include "protocol/object_file.hpp"
#include "unit/support/temporary_folder.hpp"

namespace shoal::test {

inline buffer object_bytes(unsigned seed, std::size_t size) {
  return buffer::make(size, [&](std::byte* to) {
    unsigned state = seed * 2654435761U + 1;
    for (std::size_t i = 0; i < size; ++i) {
      state = state * 1664525U + 1013904223U;
      to[i] = static_cast<std::byte>(state >> 24);
    }
  });
}

inline protocol::object_key name_of(const buffer& bytes) { return protocol::key_of(bytes.bytes()); }

/// Turns one bit of a file, whatever its mode.
inline void flip_bit(const std::filesystem::path& file, std::uint64_t at) {
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(at));
  const auto byte = static_cast<char>(stream.get() ^ 1);
  stream.seekp(static_cast<std::streamoff>(at));
  stream.put(byte);
  REQUIRE(stream.good());
}

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
