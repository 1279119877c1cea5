// One process of a mesh: started, watched and ended by the supervisor's only thread. It dies with the supervisor,
// however that ends, and even while it is stopped (PR_SET_PDEATHSIG, which is the death of the thread that forked: only
// the main thread may start one).
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "core/error.hpp"

namespace shoal::services {

class child_process {
 public:
  child_process() = default;
  ~child_process();  ///< SIGKILL, and waits
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;

  /// In a process group of its own, so that a terminal's Ctrl-C goes to the supervisor alone. `name` is in its log
  /// lines. Error: unavailable (no process, descriptor or memory to be had). That the executable is missing is found by
  /// its exit code, 127.
  expected<void> start(const std::vector<std::string>& command, const std::string& name);

  [[nodiscard]] bool runs() const noexcept { return pid_ > 0; }
  [[nodiscard]] pid_t id() const noexcept { return pid_; }
  [[nodiscard]] int end_descriptor() const noexcept { return end_; }    ///< readable once it has ended
  [[nodiscard]] int life_descriptor() const noexcept { return life_; }  ///< readable when it gave a sign of life

  void signal(int number) const;
  /// Takes in its signs of life; true if there was one.
  bool heard();
  /// The status as waitpid has it. To be called once `end_descriptor` is readable.
  int collect();

 private:
  void close_descriptors();

  pid_t pid_ = -1;
  int end_ = -1;
  int life_ = -1;
};

/// "exit code 1", "signal 9 (Killed)"
std::string text_of_status(int status);

}  // namespace shoal::services
