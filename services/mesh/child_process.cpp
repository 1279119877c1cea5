#include "services/mesh/child_process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "services/host/life_sign.hpp"
#include "services/host/program.hpp"

namespace shoal::services {

namespace {

/// This process's environment with the two variables of a child.
std::vector<std::string> environment_of(const std::string& name, int life) {
  const auto instance = std::string(instance_variable) + "=";
  const auto watchdog = std::string(life_sign::variable) + "=";
  std::vector<std::string> all;
  for (char** one = environ; *one != nullptr; ++one)
    if (const std::string text = *one; !text.starts_with(instance) && !text.starts_with(watchdog)) all.push_back(text);
  all.push_back(instance + name);
  all.push_back(watchdog + std::to_string(life));
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (auto& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

}  // namespace

child_process::~child_process() {
  if (!runs()) return;
  signal(SIGKILL);
  collect();
}

expected<void> child_process::start(const std::vector<std::string>& command, const std::string& name) {
  std::array<int, 2> life{};
  if (::pipe2(life.data(), O_CLOEXEC) != 0)
    return fail(errc::unavailable, std::string("no pipe to be had: ") + std::strerror(errno));
  ::fcntl(life[0], F_SETFL, O_NONBLOCK);
  // Everything that takes memory is done before the fork: other threads may hold its lock.
  auto words = command;
  auto variables = environment_of(name, life[1]);
  const auto arguments = pointers(words);
  const auto environment = pointers(variables);
  const auto parent = ::getpid();
  sigset_t none;
  sigemptyset(&none);
  const auto pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);  // it died before that
    ::setpgid(0, 0);
    ::signal(SIGPIPE, SIG_DFL);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::fcntl(life[1], F_SETFD, 0);
    ::execve(arguments[0], arguments.data(), environment.data());
    ::_exit(127);
  }
  const int code = errno;
  ::close(life[1]);
  if (pid < 0) {
    ::close(life[0]);
    return fail(errc::unavailable, std::string("no process to be had: ") + std::strerror(code));
  }
  pid_ = pid;
  life_ = life[0];
  end_ = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (end_ >= 0) return {};
  const std::string why = std::strerror(errno);
  signal(SIGKILL);
  collect();
  return fail(errc::unavailable, "no descriptor for a process to be had: " + why);
}

void child_process::signal(int number) const {
  if (runs()) ::kill(pid_, number);
}

bool child_process::heard() {
  std::array<char, 256> bytes;
  bool any = false;
  for (;;) {
    const auto size = ::read(life_, bytes.data(), bytes.size());
    if (size > 0) {
      any = true;
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    if (size == 0) ::close(std::exchange(life_, -1));  // the process has closed it: it is about to end
    return any;
  }
}

int child_process::collect() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  close_descriptors();
  return status;
}

void child_process::close_descriptors() {
  for (int* one : {&end_, &life_})
    if (const int descriptor = std::exchange(*one, -1); descriptor >= 0) ::close(descriptor);
}

std::string text_of_status(int status) {
  if (WIFEXITED(status)) return "exit code " + std::to_string(WEXITSTATUS(status));
  return "signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
}

}  // namespace shoal::services
