#include "chaos/cache_kills/cache_process.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

extern char** environ;

namespace shoal::chaos {

namespace fs = std::filesystem;

cache_process::cache_process(fs::path executable, fs::path killer, fs::path folder)
    : executable_(std::move(executable)), killer_(std::move(killer)), folder_(std::move(folder)) {
  fs::create_directories(memory());
}

cache_process::~cache_process() {
  if (pid_ != 0) {
    ::kill(pid_, SIGKILL);
    wait(true);
  }
}

void cache_process::start(const std::optional<kill_point>& point) {
  fs::remove(folder_ / "tally");
  std::vector<std::string> words{
      "SHOAL_CACHE_LISTEN=" + address(),
      "SHOAL_CACHE_METRICS=",
      "SHOAL_CACHE_SSD=" + disk().string(),
      "SHOAL_CACHE_DRAM=" + memory().string(),
      "SHOAL_CACHE_DRAM_MIB=16",
      "SHOAL_LOG_LEVEL=warning",
      "LD_PRELOAD=" + killer_.string(),
      "SHOAL_KILL_ROOT=" + (folder_ / "tiers").string(),
      "SHOAL_KILL_TALLY=" + (folder_ / "tally").string(),
  };
  if (point)
    words.push_back("SHOAL_KILL_POINT=" + point->call + ' ' + point->when + ' ' + std::to_string(point->nth) + ' ' +
                    (point->cuts ? "1" : "0"));
  if (lies_) words.emplace_back("SHOAL_KILL_LIES=1");
  std::vector<char*> environment;
  for (auto& word : words) environment.push_back(word.data());
  for (char** word = environ; *word != nullptr; ++word)
    if (std::string_view(*word).substr(0, 6) != "SHOAL_") environment.push_back(*word);
  environment.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, (folder_ / "log").c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0600);
  ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  std::string program = executable_.string();
  char* arguments[] = {program.data(), nullptr};
  const int failed = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments, environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    pid_ = 0;
    throw std::runtime_error("cannot start " + program + ": " + std::strerror(failed));
  }
}

int cache_process::wait(bool blocks) {
  int status = 0;
  pid_t ended = 0;
  while ((ended = ::waitpid(pid_, &status, blocks ? 0 : WNOHANG)) < 0 && errno == EINTR) {
  }
  if (ended == 0) return -1;
  pid_ = 0;
  return status;
}

bool cache_process::lives() {
  if (pid_ == 0) return false;
  const int status = wait(false);
  if (status == -1) return true;
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) throw cache_gave_up("the cache gave up:\n" + log());
  return false;
}

void cache_process::kill() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  wait(true);
}

void cache_process::stop() {
  ::kill(pid_, SIGTERM);
  const int status = wait(true);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw std::runtime_error("the cache did not end in order:\n" + log());
}

std::map<call_name, unsigned> cache_process::calls() const {
  std::map<call_name, unsigned> found;
  std::ifstream tally(folder_ / "tally");
  for (std::string line; std::getline(tally, line);) ++found[line];
  return found;
}

void cache_process::empty_memory() const {
  fs::remove_all(memory());
  fs::create_directories(memory());
}

std::string cache_process::log() const {
  std::ifstream file(folder_ / "log");
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace shoal::chaos
