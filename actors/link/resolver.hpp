// Resolves names again and again, on a thread of its own since the operating system's resolver blocks. Compose and
// headless Kubernetes services answer with every replica; each address becomes one peer.
//
// A pattern, ipc://FOLDER/scheduler-*, is looked up in the same way but more often: each socket file in the folder
// whose name begins so becomes one peer. So services of one machine find those that are started later, by hand even.
// Locks and other files are no sockets and are passed over.
//
// An answer without addresses, or none at all, is not told: a name server that fails must not look like a mesh that
// has ended, and a folder without sockets is one whose services are starting.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace shoal::link {

/// tcp://host:port whose host is a name, or ipc://folder/name* with a '*' at the end of the last part only. Nothing: an
/// endpoint that needs no resolving. Error: not an endpoint.
struct name_and_port {
  std::string name;    ///< of the host; of a pattern: what the names of socket files begin with
  std::string port;    ///< of the host
  std::string folder;  ///< of a pattern; empty: a host
};
expected<std::optional<name_and_port>> parse_endpoint(const std::string& endpoint);

class resolver {
 public:
  /// Called on the resolver's thread with endpoints (tcp://address:port), sorted, without doubles.
  using answer = std::function<void(const std::vector<std::string>& endpoints)>;

  /// Names are looked up every `interval`, folders at least every `folder_interval`.
  explicit resolver(milliseconds interval) : interval_(interval), thread_([this] { run(); }) {}
  ~resolver();

  void watch(name_and_port target, answer tell);

 private:
  struct watched {
    name_and_port target;
    answer tell;
    std::vector<std::string> last;
    time_point due{};
  };
  void run();
  static std::vector<std::string> look_up(const name_and_port& target);

  static constexpr milliseconds folder_interval{250};
  milliseconds interval_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<watched> fresh_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace shoal::link
