// The folder in which the services of one mesh on one machine meet: their sockets, their locks, and mesh.json, which
// tells what runs. One mesh holds it at a time, by a lock that the system gives up when its holder dies.
#pragma once

#include <filesystem>
#include <string>

#include "core/error.hpp"

namespace shoal::services {

class run_directory {
 public:
  /// Makes the folder (mode 0700) if it is not there, takes its lock, and removes the sockets that a mesh which was
  /// killed has left. An empty `path`: $XDG_RUNTIME_DIR/shoal, or /tmp/shoal-<uid>.
  /// Errors: invalid_argument (a path too long for sockets, or not absolute after all), unavailable (somebody else's
  /// folder, or one that another mesh holds, whose process is named).
  static expected<run_directory> take(std::string path);

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// ipc://path/name
  [[nodiscard]] std::string endpoint(const std::string& name) const { return "ipc://" + path_ + "/" + name; }
  /// The descriptor that holds the lock: for a process to inherit. It is not closed here.
  [[nodiscard]] int lock() const noexcept { return lock_; }

 private:
  run_directory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::string path_;
  int lock_;
};

}  // namespace shoal::services
