#include "protocol/object_file.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

namespace shoal::protocol {

namespace {

constexpr std::uint64_t magic = 0x31626f6c616f6873;  // "shoalob1"

tl::unexpected<error> damaged(const std::filesystem::path& file, const char* how) {
  return fail(errc::corrupt, "the object file " + file.string() + " " + how);
}

}  // namespace

std::uint64_t checksum_seed(const object_key& key) {
  std::uint64_t seed = 0;
  std::memcpy(&seed, key.bytes.data(), sizeof seed);
  return seed;
}

std::uint64_t checksum_of(const object_key& key, std::span<const std::byte> bytes) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), checksum_seed(key));
}

std::array<std::byte, object_trailer_bytes> object_trailer(std::uint64_t size, std::uint64_t checksum) {
  const std::array<std::uint64_t, 4> words{magic, size, checksum, 0};
  std::array<std::byte, object_trailer_bytes> trailer{};
  std::memcpy(trailer.data(), words.data(), sizeof words);
  return trailer;
}

std::filesystem::path object_path(const std::filesystem::path& folder, const object_key& key) {
  return folder / to_hex(key);
}

expected<buffer> map_object(const std::filesystem::path& folder, const object_key& key) {
  const auto path = object_path(folder, key);
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) return fail(errc::not_found, "cannot open " + path.string() + ": " + std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  const auto length = regular ? static_cast<std::uint64_t>(status.st_size) : 0;
  void* mapped = length > object_trailer_bytes ? ::mmap(nullptr, length, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
  const int code = errno;
  ::close(file);
  if (length <= object_trailer_bytes) return damaged(path, "is cut");
  if (mapped == MAP_FAILED) return fail(errc::internal, "cannot map " + path.string() + ": " + std::strerror(code));
  std::shared_ptr<const void> owner(mapped, [length](const void* at) { ::munmap(const_cast<void*>(at), length); });
  const std::span bytes(static_cast<const std::byte*>(mapped), length - object_trailer_bytes);
  std::array<std::uint64_t, 4> words{};
  std::memcpy(words.data(), bytes.data() + bytes.size(), sizeof words);
  if (words[0] != magic || words[1] != bytes.size()) return damaged(path, "is cut, or not an object");
  if (checksum_of(key, bytes) != words[2]) return damaged(path, "has another checksum than when it was written");
  return buffer(std::move(owner), bytes);
}

}  // namespace shoal::protocol
