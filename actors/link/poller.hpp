// epoll over the descriptors of ZeroMQ sockets, and an eventfd by which other threads end a wait. Only `wake` is for
// any thread, the rest for the poll thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/clock.hpp"

namespace shoal::link {

class poller {
 public:
  poller();
  ~poller();
  poller(const poller&) = delete;
  poller& operator=(const poller&) = delete;

  void add(int descriptor, std::uint64_t token);
  void remove(int descriptor);

  /// Waits until `until` (nothing: does not wait) and returns the tokens of readable descriptors; valid until the next
  /// call.
  const std::vector<std::uint64_t>& wait(std::optional<time_point> until);

  void wake() noexcept;

 private:
  int epoll_;
  int event_;
  std::vector<std::uint64_t> ready_;
};

}  // namespace shoal::link
