// Processes of a test: started with an argument list, ended by their own id, never left behind.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace shoal::test {

/// A directory of this test's own under the system's temporary folder; removed at the end.
class scratch_folder {
 public:
  scratch_folder();
  ~scratch_folder();
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

class process {
 public:
  /// Starts `command`; what it prints goes to `log`. Killed with the test's process if that dies.
  process(std::vector<std::string> command, std::string log);
  ~process();
  process(process&& other) noexcept;
  process& operator=(process&& other) noexcept;

  void signal(int number) const;
  /// The exit status as the shell has it (128 + signal), or nothing if it still runs after `timeout`.
  std::optional<int> wait(std::chrono::milliseconds timeout);
  void kill();
  [[nodiscard]] std::string output() const;
  /// Waits for a line beginning with `start` and returns it; empty if the process ends or time is over first.
  std::string wait_for_line(const std::string& start, std::chrono::milliseconds timeout);
  /// One that contains `part`.
  std::string wait_for_line_with(const std::string& part, std::chrono::milliseconds timeout);
  [[nodiscard]] pid_t id() const { return pid_; }

 private:
  std::string wait_for(const std::function<bool(const std::string&)>& wanted, std::chrono::milliseconds timeout);

  pid_t pid_ = -1;
  std::string log_;
};

/// What follows `key` in `text`, up to the next space or line; empty: it is not there.
std::string word_after(const std::string& text, const std::string& key);

/// The folder of Shoal's executables (environment SHOAL_BIN) and a file in it.
std::string executable(const std::string& name);
/// The folder of exported models (environment SHOAL_FIXTURES, plus "/models").
std::string models_folder();

}  // namespace shoal::test
