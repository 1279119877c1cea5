#include "services/host/claimed_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace shoal::services {

namespace fs = std::filesystem;

namespace {
constexpr int most_folders = 1024;
}

claimed_folder::claimed_folder(claimed_folder&& other) noexcept
    : path(std::move(other.path)), lock_(std::exchange(other.lock_, -1)) {}

claimed_folder& claimed_folder::operator=(claimed_folder&& other) noexcept {
  std::swap(path, other.path);
  std::swap(lock_, other.lock_);
  return *this;
}

claimed_folder::~claimed_folder() {
  if (lock_ >= 0) ::close(lock_);
}

expected<claimed_folder> claim_folder(const std::string& wanted) {
  if (!wanted.ends_with("/*")) return claimed_folder(wanted, -1);
  const fs::path above = wanted.substr(0, wanted.size() - 2);
  for (int number = 1; number <= most_folders; ++number) {
    const auto folder = above / std::to_string(number);
    std::error_code problem;
    fs::create_directories(folder, problem);
    const auto file = above / (std::to_string(number) + ".in-use");
    const int lock = problem ? -1 : ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0)
      return fail(errc::unavailable,
                  "cannot make " + folder.string() + ": " + (problem ? problem.message() : std::strerror(errno)));
    if (::flock(lock, LOCK_EX | LOCK_NB) == 0) return claimed_folder(folder, lock);
    const int why = errno;
    ::close(lock);
    if (why != EWOULDBLOCK) return fail(errc::unavailable, "cannot lock " + file.string() + ": " + std::strerror(why));
  }
  return fail(errc::unavailable, "others have all " + std::to_string(most_folders) + " folders of " + above.string());
}

}  // namespace shoal::services
