// The cache's executable as a child process with kill_at.cpp preloaded, one life after the other over the same folders.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>

#include <sys/types.h>

namespace shoal::chaos {

/// A call that changes a tier, by what it does and to what: "write log".
using call_name = std::string;

/// Where a life ends.
struct kill_point {
  call_name call;
  std::string when;  ///< before, half or after
  unsigned nth = 1;
  bool cuts = false;  ///< what was not synced goes too
};

/// It ended by itself, and says why.
struct cache_gave_up : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class cache_process {
 public:
  /// `folder` holds everything: disk/, memory/, the socket, the log of the latest life.
  cache_process(std::filesystem::path executable, std::filesystem::path killer, std::filesystem::path folder);
  ~cache_process();
  cache_process(const cache_process&) = delete;
  cache_process& operator=(const cache_process&) = delete;

  /// Throws std::runtime_error if no process can be made.
  void start(const std::optional<kill_point>& point);
  /// Whether it lives; takes its end in. Throws std::runtime_error if it ended by anything but SIGKILL: then it gave
  /// up.
  bool lives();
  /// kill -9 from outside; returns when it is gone.
  void kill();
  /// SIGTERM; throws std::runtime_error if it does not end in order.
  void stop();

  /// Calls of its latest life, as far as it came.
  [[nodiscard]] std::map<call_name, unsigned> calls() const;
  /// From the next start on a sync does nothing (SHOAL_KILL_LIES).
  void lie_about_syncs() { lies_ = true; }
  /// tmpfs is empty after a power cut, or when the host was started anew.
  void empty_memory() const;

  [[nodiscard]] std::filesystem::path disk() const { return folder_ / "tiers" / "disk"; }
  [[nodiscard]] std::filesystem::path memory() const { return folder_ / "tiers" / "memory"; }
  [[nodiscard]] std::string address() const { return "ipc://" + (folder_ / "cache.sock").string(); }
  [[nodiscard]] std::string log() const;

 private:
  int wait(bool blocks);

  std::filesystem::path executable_, killer_, folder_;
  bool lies_ = false;
  pid_t pid_ = 0;
};

}  // namespace shoal::chaos
