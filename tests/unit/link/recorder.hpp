// A link whose events are written down, and waited for with a limit instead of with sleeps.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "link/zmq_link.hpp"

namespace shoal::test {

using namespace std::chrono_literals;

class recorder {
 public:
  /// Runs on the link's poll thread with each event, after it was written down.
  using reaction = std::function<void(recorder&, const protocol::link_event&)>;

  explicit recorder(link::options own, reaction react = {});

  /// True as soon as `condition` holds for the events so far; false if it does not within ten seconds.
  template <class Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 10s, [&] { return condition(events_); });
  }

  using events = std::vector<protocol::link_event>;
  bool wait_for_up(std::size_t n = 1);
  bool wait_for_down(std::size_t n = 1);
  bool wait_for_messages(std::size_t n);
  /// Waits until a figure has at least that value.
  bool wait_for_figure(const std::string& name, double at_least);

  [[nodiscard]] std::vector<protocol::peer_up> ups();
  [[nodiscard]] std::vector<protocol::peer_down> downs();
  [[nodiscard]] std::vector<protocol::delivery> messages();
  [[nodiscard]] protocol::peer_id last_peer();
  [[nodiscard]] double figure(const std::string& name) const;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  events events_;

 public:
  link::zmq_link link;  ///< last: its thread ends before what it writes to
};

/// Short intervals, so that a lost peer is noticed within the time of a test.
link::options quick(protocol::service_kind service);

/// An unused address: "inproc", "ipc", or "tcp" (whose port is chosen when it is bound).
std::string fresh_address(const std::string& transport);

tensor floats(const std::string& name, std::size_t count, float first = 0);
protocol::infer request(protocol::request_id id, std::size_t floats_in_it = 4);

}  // namespace shoal::test
