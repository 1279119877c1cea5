// Resolves names again and again, on a thread of its own since the operating system's resolver blocks. Compose and
// headless Kubernetes services answer with every replica; each address becomes one peer.
//
// An answer without addresses, or none at all, is not told: a name server that fails must not look like a mesh that
// has ended.
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

/// tcp://host:port whose host is a name. Nothing: an endpoint that needs no resolving. Error: not an endpoint.
struct name_and_port {
  std::string name;
  std::string port;
};
expected<std::optional<name_and_port>> parse_endpoint(const std::string& endpoint);

class resolver {
 public:
  /// Called on the resolver's thread with endpoints (tcp://address:port), sorted, without doubles.
  using answer = std::function<void(const std::vector<std::string>& endpoints)>;

  explicit resolver(milliseconds interval) : interval_(interval), thread_([this] { run(); }) {}
  ~resolver();

  void watch(name_and_port target, answer tell);

 private:
  struct watched {
    name_and_port target;
    answer tell;
    std::vector<std::string> last;
  };
  void run();
  static std::vector<std::string> look_up(const name_and_port& target);

  milliseconds interval_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<watched> fresh_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace shoal::link
