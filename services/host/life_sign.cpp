#include "services/host/life_sign.hpp"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shoal::services {

namespace {
constexpr milliseconds interval{250};
}

life_sign::life_sign() {
  const char* text = std::getenv(variable);
  if (text == nullptr) return;
  int number = -1;
  const auto* const end = text + std::strlen(text);
  if (const auto [at, failed] = std::from_chars(text, end, number); failed != std::errc{} || at != end) return;
  struct stat what {};
  if (number <= 2 || ::fstat(number, &what) != 0 || !S_ISFIFO(what.st_mode)) return;
  ::fcntl(number, F_SETFD, FD_CLOEXEC);
  ::fcntl(number, F_SETFL, O_WRONLY | O_NONBLOCK);
  ::unsetenv(variable);  // it is this service's only, of those that one process may hold
  pipe_ = number;
}

life_sign::~life_sign() {
  if (pipe_ >= 0) ::close(pipe_);
}

void life_sign::give() {
  if (pipe_ < 0) return;
  const auto now = steady::now();
  if (now < due_) return;
  due_ = now + interval;
  // A full pipe: the supervisor was stopped, and finds more than it needs when it goes on. A broken one: it is gone.
  if (::write(pipe_, "", 1) < 0 && errno == EPIPE) {
    ::close(pipe_);
    pipe_ = -1;
  }
}

}  // namespace shoal::services
