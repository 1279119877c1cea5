// Holds the path of an ipc:// listener for one process: ZeroMQ removes whatever socket file is there and binds its own,
// so two services configured alike would take the path from each other without a word.
//
// A lock on `<path>.lock` for as long as the guard lives. The system gives it up when its process dies, however it
// dies, so that a socket file left by SIGKILL is taken over by the next one.
#pragma once

#include <string>

#include "core/error.hpp"

namespace shoal::link {

class ipc_guard {
 public:
  /// `endpoint` is ipc://path. Errors: invalid_argument (longer than a socket's path may be), unavailable (another
  /// service listens there, or the folder is not to be had).
  static expected<ipc_guard> take(const std::string& endpoint);

  ipc_guard(ipc_guard&& other) noexcept;
  ipc_guard& operator=(ipc_guard&& other) = delete;
  ~ipc_guard();  ///< removes the lock's file

 private:
  ipc_guard(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}

  int descriptor_;
  std::string path_;
};

}  // namespace shoal::link
