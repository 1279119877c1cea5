#include "cache/dram_tier.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "protocol/object_file.hpp"

namespace shoal::cache {

namespace fs = std::filesystem;
using protocol::object_trailer_bytes;

namespace {

std::string hex(std::uint64_t value) {
  char text[17];
  const auto [end, ignored] = std::to_chars(text, text + sizeof text, value, 16);
  return std::string(16 - static_cast<std::size_t>(end - text), '0') + std::string(text, end);
}

std::optional<std::uint64_t> parse_hex(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.size() != 16 || failed != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

tl::unexpected<error> io_error(const std::string& what, int code) {
  return fail(errc::unavailable, what + ": " + std::strerror(code));
}

/// The lock of a member's file, or -1 with errno.
int lock_member(const fs::path& file, int how) {
  const int opened = ::open(file.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (opened < 0) return -1;
  if (::flock(opened, how | LOCK_NB) == 0) return opened;
  const int code = errno;
  ::close(opened);
  errno = code;
  return -1;
}

bool lives(const fs::path& file) {
  const int opened = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (opened < 0) return false;
  const bool taken = ::flock(opened, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(opened);
  return taken;
}

class file_writer final : public dram_tier::writer {
 public:
  file_writer(fs::path name, fs::path hidden, std::uint64_t size, std::optional<std::uint64_t> checksum)
      : path_(std::move(hidden)), name_(std::move(name)), size_(size), checksum_(checksum) {}
  ~file_writer() override {
    if (file_ < 0) return;
    ::close(file_);
    ::unlink(path_.c_str());
  }
  file_writer(const file_writer&) = delete;
  file_writer& operator=(const file_writer&) = delete;

  expected<void> open(const fs::path& folder, std::uint64_t seed) {
    XXH3_64bits_reset_withSeed(sum_.get(), seed);
    file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0444);
    if (file_ < 0) return io_error("cannot write into the memory tier " + folder.string(), errno);
    const auto length = static_cast<off_t>(size_ + object_trailer_bytes);
    if (const int code = ::posix_fallocate(file_, 0, length); code != 0)
      return io_error("no room for " + std::to_string(size_) + " bytes in the memory tier " + folder.string(), code);
    return {};
  }

  expected<void> write(std::span<const std::byte> bytes) override {
    if (bytes.size() > size_ - written_)
      return fail(errc::corrupt, name_.string() + " would become larger than it should be");
    if (!checksum_) XXH3_64bits_update(sum_.get(), bytes.data(), bytes.size());
    written_ += bytes.size();
    while (!bytes.empty()) {
      const auto done = ::write(file_, bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return io_error("cannot write " + name_.string(), errno);
      bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
    return {};
  }

  expected<void> finish() override {
    if (written_ != size_) return fail(errc::corrupt, name_.string() + " is shorter than it should be");
    const auto checksum = checksum_ ? *checksum_ : XXH3_64bits_digest(sum_.get());
    const auto trailer = protocol::object_trailer(size_, checksum);
    if (::write(file_, trailer.data(), trailer.size()) != static_cast<ssize_t>(trailer.size()))
      return io_error("cannot write " + name_.string(), errno);
    if (::rename(path_.c_str(), name_.c_str()) != 0) return io_error("cannot name " + name_.string(), errno);
    ::close(file_);
    file_ = -1;
    return {};
  }

 private:
  fs::path path_;
  fs::path name_;
  int file_ = -1;
  std::uint64_t size_;
  std::uint64_t written_ = 0;
  std::optional<std::uint64_t> checksum_;  ///< known already
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> sum_{XXH3_createState(), &XXH3_freeState};
};

class folder_tier final : public dram_tier {
 public:
  folder_tier(fs::path folder, std::uint64_t name, int lock) : folder_(std::move(folder)), name_(name), lock_(lock) {}
  ~folder_tier() override;
  folder_tier(const folder_tier&) = delete;
  folder_tier& operator=(const folder_tier&) = delete;

  expected<std::unique_ptr<writer>> begin(const object_key& key, std::uint64_t size,
                                          std::optional<std::uint64_t> checksum) override;
  [[nodiscard]] expected<std::uint64_t> check(const object_key& key) const override;
  expected<void> remove(const object_key& key) override;
  std::vector<std::pair<object_key, std::uint64_t>> scan() override;
  [[nodiscard]] std::vector<std::uint64_t> members() const override;

 private:
  fs::path folder_;
  std::uint64_t name_;
  int lock_;
  std::uint64_t next_ = 0;
};

}  // namespace

expected<std::unique_ptr<dram_tier>> dram_tier::open(const fs::path& folder, std::uint64_t name) {
  std::error_code problem;
  fs::create_directories(folder / ".members", problem);
  if (problem)
    return fail(errc::unavailable, "the memory tier " + folder.string() + " cannot be made: " + problem.message() +
                                       "; give a folder on tmpfs with cache.dram");
  const int lock = lock_member(folder / ".members" / hex(name), LOCK_EX);
  if (lock < 0 && errno == EWOULDBLOCK)
    return fail(errc::unavailable,
                "another cache of the same name (" + hex(name) + ") uses the memory tier " + folder.string());
  if (lock >= 0 && ::access(folder.c_str(), W_OK) != 0) {
    const int code = errno;
    ::close(lock);
    return io_error("the memory tier " + folder.string() + " cannot be written", code);
  }
  if (lock < 0) return io_error("the memory tier " + folder.string() + " cannot be written", errno);
  return std::make_unique<folder_tier>(folder, name, lock);
}

folder_tier::~folder_tier() {
  // The file goes first: who sees it unlocked may take it for a dead instance's.
  ::unlink((folder_ / ".members" / hex(name_)).c_str());
  ::close(lock_);
}

expected<std::unique_ptr<dram_tier::writer>> folder_tier::begin(const object_key& key, std::uint64_t size,
                                                                std::optional<std::uint64_t> checksum) {
  auto made =
      std::make_unique<file_writer>(protocol::object_path(folder_, key),
                                    folder_ / ("." + hex(name_) + "." + std::to_string(next_++)), size, checksum);
  if (auto opened = made->open(folder_, protocol::checksum_seed(key)); !opened) return tl::unexpected(opened.error());
  return made;
}

expected<void> dram_tier::put(const object_key& key, std::span<const std::byte> bytes,
                              std::optional<std::uint64_t> checksum) {
  auto file = begin(key, bytes.size(), checksum);
  if (!file) return tl::unexpected(file.error());
  if (auto written = (*file)->write(bytes); !written) return written;
  return (*file)->finish();
}

expected<std::uint64_t> folder_tier::check(const object_key& key) const {
  return protocol::map_object(folder_, key).map([](const buffer& whole) -> std::uint64_t { return whole.size(); });
}

expected<void> folder_tier::remove(const object_key& key) {
  const auto path = protocol::object_path(folder_, key);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io_error("cannot remove " + path.string(), errno);
  return {};
}

std::vector<std::pair<protocol::object_key, std::uint64_t>> folder_tier::scan() {
  std::vector<std::pair<object_key, std::uint64_t>> found;
  const auto alive = members();
  std::error_code problem;  // a folder that cannot be read holds nothing for us; writing to it will say so
  for (const auto& entry : fs::directory_iterator(folder_, problem)) {
    const auto name = entry.path().filename().string();
    std::error_code gone;
    if (const auto key = protocol::parse_object_key(name)) {
      const auto length = entry.file_size(gone);
      if (!gone) found.emplace_back(*key, length - std::min<std::uint64_t>(length, object_trailer_bytes));
    } else if (name.size() > 18 && name[0] == '.' && name[17] == '.') {
      const auto writer = parse_hex(std::string_view(name).substr(1, 16));
      const bool stray = writer && (*writer == name_ || std::find(alive.begin(), alive.end(), *writer) == alive.end());
      if (stray) fs::remove(entry.path(), gone);
    }
  }
  return found;
}

std::vector<std::uint64_t> folder_tier::members() const {
  std::vector<std::uint64_t> alive{name_};
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(folder_ / ".members", problem)) {
    const auto name = parse_hex(entry.path().filename().string());
    if (name && *name != name_ && lives(entry.path())) alive.push_back(*name);
  }
  std::sort(alive.begin(), alive.end());
  return alive;
}

}  // namespace shoal::cache
