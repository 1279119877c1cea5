#include "mesh/process.hpp"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shoal::test {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

scratch_folder::scratch_folder() {
  auto pattern = (fs::temp_directory_path() / "shoal-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make " + pattern);
  path_ = pattern;
}

scratch_folder::~scratch_folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

process::process(std::vector<std::string> command, std::string log) : log_(std::move(log)) {
  std::vector<char*> arguments;
  for (auto& part : command) arguments.push_back(part.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int out = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::dup2(out, 1);
  ::dup2(out, 2);
  ::execv(arguments[0], arguments.data());
  ::_exit(127);
}

process::process(process&& other) noexcept : pid_(std::exchange(other.pid_, -1)), log_(std::move(other.log_)) {}

process& process::operator=(process&& other) noexcept {
  kill();
  pid_ = std::exchange(other.pid_, -1);
  log_ = std::move(other.log_);
  return *this;
}

process::~process() { kill(); }

void process::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

std::optional<int> process::wait(std::chrono::milliseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (pid_ > 0) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    if (std::chrono::steady_clock::now() >= until) return std::nullopt;
    std::this_thread::sleep_for(5ms);
  }
  return std::nullopt;
}

void process::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::kill(pid_, SIGCONT);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string process::output() const {
  std::ifstream file(log_);
  return (std::stringstream() << file.rdbuf()).str();
}

std::string process::wait_for(const std::function<bool(const std::string&)>& wanted,
                              std::chrono::milliseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    std::stringstream text(output());
    for (std::string line; std::getline(text, line);)
      if (wanted(line)) return line;
    if (wait(0ms) || std::chrono::steady_clock::now() >= until) return {};
    std::this_thread::sleep_for(10ms);
  }
}

std::string process::wait_for_line(const std::string& start, std::chrono::milliseconds timeout) {
  return wait_for([&](const std::string& line) { return line.starts_with(start); }, timeout);
}

std::string process::wait_for_line_with(const std::string& part, std::chrono::milliseconds timeout) {
  return wait_for([&](const std::string& line) { return line.find(part) != std::string::npos; }, timeout);
}

std::string word_after(const std::string& text, const std::string& key) {
  const auto at = text.find(key);
  if (at == std::string::npos) return {};
  const auto begin = at + key.size();
  return text.substr(begin, text.find_first_of(" \n", begin) - begin);
}

namespace {
std::string required(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr) throw std::runtime_error(std::string(variable) + " is not set: run the tests with ctest");
  return value;
}
}  // namespace

std::string executable(const std::string& name) {
  const auto path = required("SHOAL_BIN") + "/" + name;
  if (!fs::exists(path)) throw std::runtime_error("there is no " + path + ": run `make build`");
  return path;
}

std::string models_folder() {
  const auto path = required("SHOAL_FIXTURES") + "/models";
  if (!fs::exists(path)) throw std::runtime_error("there are no models in " + path + ": run `make fixtures`");
  return path;
}

}  // namespace shoal::test
