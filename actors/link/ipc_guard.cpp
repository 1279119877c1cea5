#include "link/ipc_guard.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace shoal::link {

namespace {

constexpr std::size_t longest_path = sizeof(sockaddr_un::sun_path) - 1;

/// The holder of a lock removes its file at the end: what was locked may be a file that is no longer there.
bool is_still_at(int descriptor, const std::string& path) {
  struct stat held {};
  struct stat there {};
  return ::fstat(descriptor, &held) == 0 && ::stat(path.c_str(), &there) == 0 && held.st_ino == there.st_ino &&
         held.st_dev == there.st_dev;
}

}  // namespace

expected<ipc_guard> ipc_guard::take(const std::string& endpoint) {
  const auto socket = endpoint.substr(6);
  if (socket.size() > longest_path)
    return fail(errc::invalid_argument, "cannot listen on " + endpoint + ": the path has " +
                                            std::to_string(socket.size()) + " bytes, a socket's may have " +
                                            std::to_string(longest_path) + ": choose a shorter one");
  auto path = socket + ".lock";
  for (;;) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0)
      return fail(errc::unavailable, std::string("cannot listen on ")
                                         .append(endpoint)
                                         .append(": ")
                                         .append(path)
                                         .append(": ")
                                         .append(std::strerror(errno)));
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      const int code = errno;
      ::close(descriptor);
      if (code == EINTR) continue;
      return fail(errc::unavailable,
                  "cannot listen on " + endpoint +
                      (code == EWOULDBLOCK ? ": another service listens there; end it, or choose another address"
                                           : std::string(": ") + std::strerror(code)));
    }
    if (is_still_at(descriptor, path)) return ipc_guard(descriptor, std::move(path));
    ::close(descriptor);
  }
}

ipc_guard::ipc_guard(ipc_guard&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

ipc_guard::~ipc_guard() {
  if (descriptor_ < 0) return;
  ::unlink(path_.c_str());  // while it is held, so that nobody's else is removed
  ::close(descriptor_);
}

}  // namespace shoal::link
