#include "services/mesh/run_directory.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace shoal::services {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view longest_name = "/scheduler-64";

std::string default_path() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') return std::string(runtime) + "/shoal";
  return "/tmp/shoal-" + std::to_string(::getuid());
}

expected<void> make_own(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return fail(errc::unavailable, "cannot make the run directory " + path + ": " + std::strerror(errno));
  struct stat there {};
  if (::lstat(path.c_str(), &there) != 0)
    return fail(errc::unavailable, "cannot look at the run directory " + path + ": " + std::strerror(errno));
  if (!S_ISDIR(there.st_mode) || there.st_uid != ::geteuid())
    return fail(errc::unavailable,
                "the run directory " + path + " is not a folder of this user: set mesh.run_directory to one that is");
  if ((there.st_mode & 0077) != 0 && ::chmod(path.c_str(), 0700) != 0)
    return fail(errc::unavailable, "cannot close the run directory " + path + " to others: " + std::strerror(errno));
  return {};
}

/// Sockets whose listener holds no lock any more: a mesh was killed, and may have had more instances than this one.
void remove_stale_sockets(const std::string& path) {
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(path, problem)) {
    if (std::error_code gone; !entry.is_socket(gone)) continue;
    const auto lock = entry.path().string() + ".lock";
    const int descriptor = ::open(lock.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor >= 0 && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
      ::unlink(entry.path().c_str());
      ::unlink(lock.c_str());
    }
    if (descriptor >= 0) ::close(descriptor);
  }
}

expected<int> lock_file(const std::string& path, const std::string& file) {
  for (;;) {
    const int lock = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) return fail(errc::unavailable, "cannot open " + file + ": " + std::strerror(errno));
    if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
      std::array<char, 16> holder{};
      const auto size = ::read(lock, holder.data(), holder.size() - 1);
      ::close(lock);
      return fail(errc::unavailable, "another mesh (process " + std::string(size > 0 ? holder.data() : "unknown") +
                                         ") holds the run directory " + path +
                                         ": end it, or set mesh.run_directory to another folder");
    }
    // A mesh that ends removes the file: what was locked may no longer be the one that others find.
    struct stat held {};
    struct stat there {};
    if (::fstat(lock, &held) == 0 && ::stat(file.c_str(), &there) == 0 && held.st_ino == there.st_ino) return lock;
    ::close(lock);
  }
}

}  // namespace

expected<run_directory> run_directory::take(std::string path) {
  if (path.empty()) path = default_path();
  path = fs::absolute(path).lexically_normal().string();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.size() + longest_name.size() >= sizeof(sockaddr_un::sun_path))
    return fail(errc::invalid_argument, "mesh.run_directory " + path + " is too long: the path of a socket may have " +
                                            std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                                            " bytes, so the folder's at most " +
                                            std::to_string(sizeof(sockaddr_un::sun_path) - 1 - longest_name.size()));
  if (path.find_first_of("*,") != std::string::npos)
    return fail(errc::invalid_argument, "mesh.run_directory " + path + " must be without '*' and ','");
  if (auto made = make_own(path); !made) return tl::unexpected(made.error());
  const auto file = path + "/mesh.lock";
  auto lock = lock_file(path, file);
  if (!lock) return tl::unexpected(lock.error());
  const auto own = std::to_string(::getpid());
  if (::ftruncate(*lock, 0) != 0 || ::pwrite(*lock, own.data(), own.size(), 0) != static_cast<ssize_t>(own.size())) {
    const std::string why = std::strerror(errno);
    ::close(*lock);
    return fail(errc::unavailable, "cannot write " + file + ": " + why);
  }
  remove_stale_sockets(path);
  return run_directory(std::move(path), *lock);
}

}  // namespace shoal::services
